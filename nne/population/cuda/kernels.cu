// One generation on a GPU: genotypes drawn, packed into bits, expressed as weights, and evaluated without a hidden layer.
//
// Compiled by NVRTC when it is first wanted, for the GPU that is there. Macros say the sizes:
//   C          classes
//   WB, WN     a block evaluates 32 WB images for 16 WN genotypes, by WB x WN warps; WB is 2 or 4
//   MAX_STEPS  the most steps of 16 edges that a hidden unit has
//   STAGES     hidden units whose weights are on their way into shared memory
//
// Sums have one order, whatever the sizes: same seed, same bits.

static_assert(WB == 2 || WB == 4, "a pixel's row is 128 or 256 bytes, as the swizzle below has it");

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

constexpr int ROWS = 16;                      // genotypes of a tile, the rows of a tensor core's matrix
constexpr int STEP = 16;                      // edges that one product takes
constexpr int CP = (C + 3) / 4 * 4;           // classes, in whole vectors
constexpr int IMAGES = 32 * WB;               // of a block
constexpr int PITCH = 2 * IMAGES;             // bytes of a pixel's row in shared memory
constexpr int THREADS = 32 * WB * WN;
constexpr int GROUP = 128;                    // genotypes that a warp expresses: four words of bits
constexpr int TILE_BYTES = 512;               // of a step's weights for 16 genotypes
constexpr int OUTPUT_BYTES = ROWS * CP * 4;   // of a unit's output weights for 16 genotypes
constexpr int STAGE_BYTES = WN * (MAX_STEPS * TILE_BYTES + OUTPUT_BYTES) + MAX_STEPS * STEP * 4;

// What only a GPU has. A CPU plays it in tests, with the same names (tests/population/cuda/emulator.h).
#ifndef EMULATED
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) u8 name[]

__device__ __forceinline__ u32 shared_address(const void* at) { return u32(__cvta_generic_to_shared(at)); }

__device__ __forceinline__ void copy_async(void* to, const void* from) {  // 16 bytes into shared memory
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from));
}

__device__ __forceinline__ void end_of_stage() { asm volatile("cp.async.commit_group;"); }

template <int PENDING>
__device__ __forceinline__ void await_stages() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Four 8 x 8 matrices of 16-bit numbers, transposed: lane L gives the address of row L % 8 of matrix L / 8.
__device__ __forceinline__ void load_transposed(u32 (&m)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(shared_address(row)));
}

// c[16, 8] += a[16, 16] b[16, 8], bfloat16 into float32.
__device__ __forceinline__ void multiply(float (&c)[4], const uint4& a, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
#endif

__device__ __forceinline__ u32 bfloat16(float value) {  // rounded to nearest even
    const u32 bits = __float_as_uint(value);
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
}

__device__ __forceinline__ u32 scramble(u32 u) {
    u = (u ^ (u >> 16)) * 0x7FEB352Du;
    u = (u ^ (u >> 15)) * 0x846CA68Bu;
    return u ^ (u >> 16);
}

// x: [N, n] of individuals with keys: [N, 2], as nne.genome.draw has it; a thread for each gene of an individual.
extern "C" __global__ void draw(const int* genes, const int* threshold, const u8* always, const int* keys, u8* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, individual = blockIdx.y;
    if (i >= n) return;
    const u32 first = u32(keys[2 * individual]), second = u32(keys[2 * individual + 1]);
    const u32 u = scramble(scramble(u32(genes[i]) * 0x9E3779B9u + first) + second);
    x[u64(individual) * n + i] = int(u) < threshold[i] || always[i];
}

// bits: [n, words], 32 genotypes of x: [N, n] a word; a thread for each gene and word.
extern "C" __global__ void pack(const u8* x, u32* bits, int N, int n, int words) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, word = blockIdx.y;
    if (i >= n) return;
    u32 packed = 0;
    for (int b = 0; b < 32; b++) {
        const int individual = 32 * word + b;
        if (individual < N && x[u64(individual) * n + i]) packed |= 1u << b;
    }
    bits[u64(i) * words + word] = packed;
}

// One row of W for 128 genotypes, four of them in each lane: lane L has the genotypes 32 j + L of the group.
__device__ __forceinline__ void express_row(float (&w)[4], const u32* bits, const int* offsets, const int* genes,
                                            const float* values, u64 row, int words, int group, bool rectified) {
    const u32 carrier = 1u << (threadIdx.x % 32);
    w[0] = w[1] = w[2] = w[3] = 0;
    const int end = offsets[row + 1];
#pragma unroll 4
    for (int at = offsets[row]; at < end; at++) {
        const uint4 x = *reinterpret_cast<const uint4*>(bits + u64(genes[at]) * words + 4 * group);
        const float value = values[at];
        w[0] += x.x & carrier ? value : 0;
        w[1] += x.y & carrier ? value : 0;
        w[2] += x.z & carrier ? value : 0;
        w[3] += x.w & carrier ? value : 0;
    }
    if (rectified)
        for (float& each : w) each = fmaxf(each, 0);
}

// weights: [tiles, steps, 32 lanes, 8] bfloat16, as the lanes of a warp hold the 16 x 16 matrix of 16 genotypes and 16
// edges; rows of W as the slots of edges come. A warp for each step and 128 genotypes; four warps a block.
extern "C" __global__ void express_edges(const u32* bits, const int* offsets, const int* genes, const float* values,
                                         uint4* weights, int steps, int words, int rectified) {
    __shared__ uint4 staged[4][8 * 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int step = blockIdx.x * 4 + warp, group = blockIdx.y;
    if (step >= steps) return;
    u32* words_of_tiles = reinterpret_cast<u32*>(staged[warp]);
    const int row = lane % 16;
    for (int k = 0; k < STEP; k += 2) {
        float even[4], odd[4];
        express_row(even, bits, offsets, genes, values, u64(step) * STEP + k, words, group, rectified);
        express_row(odd, bits, offsets, genes, values, u64(step) * STEP + k + 1, words, group, rectified);
        for (int j = 0; j < 4; j++) {
            const int tile = 2 * j + lane / 16, holder = row % 8 * 4 + k % 8 / 2;
            words_of_tiles[(tile * 32 + holder) * 4 + row / 8 + k / 8 * 2] = bfloat16(even[j]) | bfloat16(odd[j]) << 16;
        }
    }
    __syncwarp();
    for (int tile = 0; tile < 8; tile++)
        weights[(u64(group * 8 + tile) * steps + step) * 32 + lane] = staged[warp][tile * 32 + lane];
}

// outputs: [tiles, units, 16, CP] float32; the rows of W after all edges. A warp for each unit and 128 genotypes.
extern "C" __global__ void express_outputs(const u32* bits, const int* offsets, const int* genes, const float* values,
                                           float4* outputs, int first_row, int units, int words, int rectified) {
    __shared__ float4 staged[4][GROUP * CP / 4];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int unit = blockIdx.x * 4 + warp, group = blockIdx.y;
    if (unit >= units) return;
    float* weights = reinterpret_cast<float*>(staged[warp]);
    for (int c = 0; c < C; c++) {
        float w[4];
        express_row(w, bits, offsets, genes, values, u64(first_row) + u64(unit) * C + c, words, group, rectified);
        for (int j = 0; j < 4; j++) weights[(32 * j + lane) * CP + c] = w[j];
    }
    __syncwarp();
    constexpr int PIECES = ROWS * CP / 4;
    for (int i = lane; i < 8 * PIECES; i += 32)
        outputs[(u64(group * 8 + i / PIECES) * units + unit) * PIECES + i % PIECES] = staged[warp][i];
}

// The weights of a unit and where its edges come from, on their way into shared memory: of the warps that share
// genotypes, each brings some of the steps; the last brings what there is beside them.
__device__ __forceinline__ void fetch(u8* stage, int unit, int begin, int count, int units, int tile, int steps,
                                      const uint4* weights, const float4* outputs, const uint4* source, int lane,
                                      int wb, int wn) {
    const uint4* edges = weights + (u64(tile + wn) * steps + begin) * 32 + lane;
    u8* to = stage + wn * MAX_STEPS * TILE_BYTES + 16 * lane;
#pragma unroll 1
    for (int s = wb; s < count; s += WB) copy_async(to + s * TILE_BYTES, edges + s * 32);
    if (wb == WB - 1) {
        const float4* above = outputs + (u64(tile + wn) * units + unit) * (OUTPUT_BYTES / 16);
        to = stage + WN * MAX_STEPS * TILE_BYTES + wn * OUTPUT_BYTES;
#pragma unroll 1
        for (int i = lane; i < OUTPUT_BYTES / 16; i += 32) copy_async(to + 16 * i, above + i);
    } else if (wb == WB - 2 && wn == 0) {
        to = stage + WN * (MAX_STEPS * TILE_BYTES + OUTPUT_BYTES);
#pragma unroll 1
        for (int i = lane; i < count * STEP / 4; i += 32) copy_async(to + 16 * i, source + u64(begin) * STEP / 4 + i);
    }
}

// h[16 genotypes, 32 images] += the weights of so many steps times the pixels that their edges see.
template <int COUNT>
__device__ __forceinline__ void products(float (&h)[4][4], const uint4* a, const u32* place, const u8* pixels, u32 chunk) {
#pragma unroll
    for (int s = 0; s < COUNT; s++) {
        const uint4 w = a[s * 32];
        const u32 at = place[s * STEP] ^ chunk;
        u32 left[4], right[4];
        load_transposed(left, pixels + at);
        load_transposed(right, pixels + (at ^ 32));
        multiply(h[0], w, left[0], left[1]);
        multiply(h[1], w, left[2], left[3]);
        multiply(h[2], w, right[0], right[1]);
        multiply(h[3], w, right[2], right[3]);
    }
}

// Rewards added up over 32 images, out: [image groups, N]; or logits, out: [N, C, B].
//
// pixels: [rows, pitch] bfloat16. A block has those of its images in shared memory, where every edge finds its own row.
// A warp holds the logits of 16 genotypes on 32 images and goes through the hidden units: a product by tensor cores,
// ReLU, and so much more in every class. source: [steps, 16], the place of an edge's pixel in shared memory.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    evaluate(const uint4* weights, const float4* outputs, const uint4* source, const int* first, const uint4* pixels,
             const long long* labels, float* out, int rows, int pitch, int steps, int units, int N, int B,
             float temperature, float ceiling, int rewarded) {
    DYNAMIC_SHARED(memory);
    u8* stages = memory + (rows * PITCH + 127) / 128 * 128;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, wb = warp % WB, wn = warp / WB;
    const int tile = blockIdx.y * WN;

#pragma unroll 1
    for (int i = threadIdx.x; i < rows * (IMAGES / 8); i += THREADS) {
        const int row = i / (IMAGES / 8), chunk = i % (IMAGES / 8);
        u8* to = memory + row * PITCH + ((chunk ^ (row & 7)) << 4);  // so that rows spread over the banks
        copy_async(to, pixels + (u64(row) * pitch + blockIdx.x * IMAGES) / 8 + chunk);
    }
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < units)
            fetch(stages + s * STAGE_BYTES, s, first[s], first[s + 1] - first[s], units, tile, steps, weights, outputs,
                  source, lane, wb, wn);
        end_of_stage();
    }

    float z[2][8][C];  // genotype lane / 4 and the one 8 further on; images 8 (j / 2) + 2 (lane % 4) + j % 2
#pragma unroll
    for (int i = 0; i < 2 * 8 * C; i++) z[i / (8 * C)][i / C % 8][i % C] = 0;

    // The first step of the unit at hand and of those after it, to the one that is fetched next: read in good time.
    int begins[STAGES + 1];
#pragma unroll
    for (int s = 0; s <= STAGES; s++) begins[s] = first[min(s, units)];

    const u32 chunk = (4 * wb + lane / 16) << 4;
    int slot = 0;
    for (int unit = 0; unit < units; unit++) {
        await_stages<STAGES - 2>();
        __syncthreads();
        const int ahead = first[min(unit + STAGES + 1, units)];
        const int filled = slot == 0 ? STAGES - 1 : slot - 1;
        if (unit + STAGES - 1 < units)
            fetch(stages + filled * STAGE_BYTES, unit + STAGES - 1, begins[STAGES - 1],
                  begins[STAGES] - begins[STAGES - 1], units, tile, steps, weights, outputs, source, lane, wb,
                  wn);
        end_of_stage();

        const u8* stage = stages + slot * STAGE_BYTES;
        const uint4* a = reinterpret_cast<const uint4*>(stage + wn * MAX_STEPS * TILE_BYTES) + lane;
        const u32* place = reinterpret_cast<const u32*>(stage + WN * (MAX_STEPS * TILE_BYTES + OUTPUT_BYTES)) + lane % 16;
        float h[4][4] = {};
        int left = begins[1] - begins[0];
#pragma unroll 1
        for (; left > 4; left -= 4, a += 4 * 32, place += 4 * STEP) products<4>(h, a, place, memory, chunk);
        if (left == 4) products<4>(h, a, place, memory, chunk);
        if (left == 3) products<3>(h, a, place, memory, chunk);
        if (left == 2) products<2>(h, a, place, memory, chunk);
        if (left == 1) products<1>(h, a, place, memory, chunk);
#pragma unroll
        for (int s = 0; s < STAGES; s++) begins[s] = begins[s + 1];
        begins[STAGES] = ahead;
        slot = slot == STAGES - 1 ? 0 : slot + 1;

        const u8* above = stage + WN * MAX_STEPS * TILE_BYTES + wn * OUTPUT_BYTES;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const float4* v = reinterpret_cast<const float4*>(above + (lane / 4 + 8 * i) * CP * 4);
            float weight[CP];
#pragma unroll
            for (int c = 0; c < CP; c += 4) {
                const float4 four = v[c / 4];
                weight[c] = four.x, weight[c + 1] = four.y, weight[c + 2] = four.z, weight[c + 3] = four.w;
            }
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const float active = fmaxf(h[j / 2][2 * i + j % 2], 0);
#pragma unroll
                for (int c = 0; c < C; c++) z[i][j][c] = fmaf(active, weight[c], z[i][j][c]);
            }
        }
    }

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int individual = (tile + wn) * ROWS + lane / 4 + 8 * i;
        float paid = 0;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int image = blockIdx.x * IMAGES + 32 * wb + 8 * (j / 2) + 2 * (lane % 4) + j % 2;
            if (image >= B) continue;
            if (rewarded) {
                float most = z[i][j][0], total = 0, right = 0;
#pragma unroll
                for (int c = 1; c < C; c++) most = fmaxf(most, z[i][j][c]);
                const int label = int(labels[image]);
#pragma unroll
                for (int c = 0; c < C; c++) {
                    const float scaled = (z[i][j][c] - most) / temperature;
                    total += expf(scaled);
                    if (c == label) right = scaled;
                }
                paid += fmaxf(ceiling + right - logf(total), 0);
            } else if (individual < N) {
#pragma unroll
                for (int c = 0; c < C; c++) out[(u64(individual) * C + c) * B + image] = z[i][j][c];
            }
        }
        if (rewarded) {
            paid += __shfl_xor_sync(0xFFFFFFFFu, paid, 1);
            paid += __shfl_xor_sync(0xFFFFFFFFu, paid, 2);
            if (lane % 4 == 0 && individual < N) out[u64(blockIdx.x * WB + wb) * N + individual] = paid;
        }
    }
}
