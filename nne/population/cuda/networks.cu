// Networks of one hidden layer on a GPU: genotypes expressed as weights, and evaluated without a hidden layer in memory.
//
// Compiled by NVRTC when it is first wanted, for the GPU that is there. Macros say the sizes:
//   C          classes
//   WB, WN     a block evaluates 32 WB images for 16 WN genotypes, by WB x WN warps; WB is 2 or 4
//   MAX_STEPS  the most steps of 16 edges that four hidden units have together
//
// For one number of parts of the hidden units, sums have one order, whatever the shape of a block: same seed, same bits.

static_assert(WB == 2 || WB == 4, "a pixel's row is 128 or 256 bytes, as the swizzle below has it");

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

constexpr int ROWS = 16;                      // genotypes of a tile
constexpr int STEP = 16;                      // edges that one product takes
constexpr int QUAD = 4;                       // hidden units that are gone through together
constexpr int PAIRS = (C + 1) / 2;            // of classes
constexpr int IMAGES = 32 * WB;               // of a block
constexpr int PITCH = 2 * IMAGES;             // bytes of a pixel's row in shared memory
constexpr int THREADS = 32 * WB * WN;
constexpr int TILE_BYTES = 512;               // of a step's weights for 16 genotypes
constexpr int OUTPUT_BYTES = 256 * PAIRS;     // of four units' output weights for 16 genotypes
constexpr int STAGE_BYTES = WN * (MAX_STEPS * TILE_BYTES + OUTPUT_BYTES) + MAX_STEPS * STEP * 4;

// What only a GPU has. A CPU plays it in tests, with the same names (tests/population/cuda/emulator.h).
#ifndef EMULATED
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) u8 name[]

__device__ __forceinline__ u32 shared_address(const void* at) { return u32(__cvta_generic_to_shared(at)); }

__device__ __forceinline__ void copy_async(void* to, const void* from) {  // 16 bytes into shared memory
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from));
}

__device__ __forceinline__ void end_of_stage() { asm volatile("cp.async.commit_group;"); }

__device__ __forceinline__ void await_stages() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

// Four 8 x 8 matrices of 16-bit numbers, transposed: lane L gives the address of row L % 8 of matrix L / 8.
__device__ __forceinline__ uint4 load_transposed(const void* row) {
    uint4 m;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m.x), "=r"(m.y), "=r"(m.z), "=r"(m.w)
                 : "r"(shared_address(row)));
    return m;
}

// c[16, 8] += a[16, 16] b[16, 8], bfloat16 into float32.
__device__ __forceinline__ void multiply(float (&c)[4], const uint4& a, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

__device__ __forceinline__ u32 active(float low, float high) {  // ReLU, and rounded to a pair of bfloat16
    u32 pair;
    asm("cvt.rn.relu.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
#endif

__device__ __forceinline__ u32 bfloat16(float value) {  // rounded to nearest even
    const u32 bits = __float_as_uint(value);
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
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
        if (x.x & carrier) w[0] += value;
        if (x.y & carrier) w[1] += value;
        if (x.z & carrier) w[2] += value;
        if (x.w & carrier) w[3] += value;
    }
    if (rectified)
        for (float& each : w) each = fmaxf(each, 0);
}

// weights: [tiles, steps, 32 lanes, 8] bfloat16, as the lanes of a warp hold the 16 x 16 matrix of 16 genotypes and 16
// edges (what one product takes lies side by side); rows of W as the slots of edges come. A warp for each step and 128
// genotypes; four warps a block.
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
            words_of_tiles[(tile * 32 + holder) * 4 + row / 8 * 2 + k / 8] = bfloat16(even[j]) | bfloat16(odd[j]) << 16;
        }
    }
    __syncwarp();
    for (int tile = 0; tile < 8; tile++)
        weights[(u64(group * 8 + tile) * steps + step) * 32 + lane] = staged[warp][tile * 32 + lane];
}

// outputs: [tiles, quads, 2 PAIRS, 8 lanes, 2, 4 units] bfloat16; the rows of W after all edges. A warp for each class of
// four units and 128 genotypes; four warps a block. As `add_classes` takes them: the genotypes of a tile are four sets
// {2 q + s % 2 + s / 2 * 8, q = 0 .. 3}; set s and pair of classes j are the entry s PAIRS + j; of an entry, the lane
// 2 q + c % 2 has genotype q of the set and class c of the pair.
extern "C" __global__ void express_outputs(const u32* bits, const int* offsets, const int* genes, const float* values,
                                           uint2* outputs, int first_row, int units, int words, int rectified) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int quads = (units + QUAD - 1) / QUAD, at = blockIdx.x * 4 + warp, quad = at / C, c = at % C, group = blockIdx.y;
    if (quad >= quads) return;
    float w[QUAD][4] = {};
#pragma unroll
    for (int u = 0; u < QUAD; u++) {
        const int unit = QUAD * quad + u;
        if (unit < units)
            express_row(w[u], bits, offsets, genes, values, u64(first_row) + u64(unit) * C + c, words, group, rectified);
    }
    const int genotype = lane % 16, set = genotype / 8 * 2 + genotype % 2, q = genotype % 8 / 2;
    const int entry = set * PAIRS + c / 2, place = (entry / 2 * 8 + 2 * q + c % 2) * 2 + entry % 2;
    for (int j = 0; j < 4; j++) {
        const int tile = 2 * j + lane / 16;
        outputs[(u64(group * 8 + tile) * quads + quad) * (OUTPUT_BYTES / 8) + place] =
            {bfloat16(w[0][j]) | bfloat16(w[1][j]) << 16, bfloat16(w[2][j]) | bfloat16(w[3][j]) << 16};
    }
}

// What a block needs of four units, on its way into shared memory: their weights, and where their edges come from.
__device__ __forceinline__ void fetch(u8* stage, const uint4* weights, const uint4* outputs, const uint4* source, int begin,
                                      int count, int quad, int quads, int tile, int steps) {
#pragma unroll
    for (int wn = 0; wn < WN; wn++) {
        const uint4* edges = weights + (u64(tile + wn) * steps + begin) * 32;
        u8* to = stage + wn * MAX_STEPS * TILE_BYTES;
#pragma unroll 1
        for (int i = threadIdx.x; i < count * 32; i += THREADS) copy_async(to + 16 * i, edges + i);
        const uint4* above = outputs + (u64(tile + wn) * quads + quad) * (OUTPUT_BYTES / 16);
        to = stage + WN * MAX_STEPS * TILE_BYTES + wn * OUTPUT_BYTES;
#pragma unroll 1
        for (int i = threadIdx.x; i < OUTPUT_BYTES / 16; i += THREADS) copy_async(to + 16 * i, above + i);
    }
    u8* to = stage + WN * (MAX_STEPS * TILE_BYTES + OUTPUT_BYTES);
#pragma unroll 1
    for (int i = threadIdx.x; i < count * STEP / 4; i += THREADS)
        copy_async(to + 16 * i, source + u64(begin) * STEP / 4 + i);
}

// h[32 images, 16 genotypes] += the pixels that so many steps of edges see times their weights.
template <int COUNT>
__device__ __forceinline__ void products(float (&h)[2][2][4], const uint4* weights, const u32* place, const u8* pixels,
                                         u32 chunk) {
#pragma unroll
    for (int s = 0; s < COUNT; s++) {
        const u32 at = place[s * STEP] ^ chunk;
        const uint4 upper = load_transposed(pixels + at), lower = load_transposed(pixels + (at ^ 32));
        const uint4 w = weights[s * 32];
        multiply(h[0][0], upper, w.x, w.y);
        multiply(h[0][1], upper, w.z, w.w);
        multiply(h[1][0], lower, w.x, w.y);
        multiply(h[1][1], lower, w.z, w.w);
    }
}

// What four active units add to every class: z[image half][set][pair of classes] += h V, on tensor cores.
//
// A product of [16 images, 4 genotypes x 4 units] and [4 genotypes x 4 units, 4 genotypes x 2 classes], of which one in
// four is no zero: an image's row times a genotype's own columns. The lanes that hold the zeros read nothing.
__device__ __forceinline__ void add_classes(float (&z)[2][4][PAIRS][4], const u32 (&h)[QUAD][2][2][2], const uint4* outputs,
                                            bool holder) {
    uint4 a[2];
#pragma unroll
    for (int i = 0; i < 2 * PAIRS; i++) {
        const uint4 v = holder ? outputs[i * 8] : uint4{0, 0, 0, 0};
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int entry = 2 * i + half, set = entry / PAIRS, pair = entry % PAIRS, part = set % 2 ? 0x7632 : 0x5410;
#pragma unroll
            for (int m = 0; m < 2; m++) {
                if (pair == 0) {
                    const auto& tile = set / 2;
                    a[m].x = __byte_perm(h[0][m][tile][0], h[1][m][tile][0], part);
                    a[m].y = __byte_perm(h[0][m][tile][1], h[1][m][tile][1], part);
                    a[m].z = __byte_perm(h[2][m][tile][0], h[3][m][tile][0], part);
                    a[m].w = __byte_perm(h[2][m][tile][1], h[3][m][tile][1], part);
                }
                multiply(z[m][set][pair], a[m], half ? v.z : v.x, half ? v.w : v.y);
            }
        }
    }
}

// Rewards added up over 32 images, out: [image groups, N]; or logits, out: [parts, N, C, B], of some hidden units each.
//
// pixels: [rows, pitch] bfloat16. A block has those of its images in shared memory, where every edge finds its own row.
// A warp holds the logits of 16 genotypes on 32 images and goes through the hidden units, four at a time: a product by
// tensor cores, ReLU, and a product into the classes. source: [steps, 16], the place of an edge's pixel in shared memory;
// first: [quads + 1], the first step of four units, and counts: [quads], the steps of each, a byte for each.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    evaluate(const uint4* weights, const uint4* outputs, const uint4* source, const int* first, const u32* counts,
             const uint4* pixels, const long long* labels, float* out, int rows, int pitch, int steps, int quads, int N,
             int B, float temperature, float ceiling, int rewarded) {
    DYNAMIC_SHARED(memory);
    u8* stages = memory + (rows * PITCH + 127) / 128 * 128;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, wb = warp % WB, wn = warp / WB;
    const int tile = blockIdx.y * WN, each = (quads + gridDim.z - 1) / gridDim.z;
    const int begin = blockIdx.z * each, end = min(begin + each, quads);

#pragma unroll 1
    for (int i = threadIdx.x; i < rows * (IMAGES / 8); i += THREADS) {
        const int row = i / (IMAGES / 8), chunk = i % (IMAGES / 8);
        u8* to = memory + row * PITCH + ((chunk ^ (row & 7)) << 4);  // so that rows spread over the banks
        copy_async(to, pixels + (u64(row) * pitch + blockIdx.x * IMAGES) / 8 + chunk);
    }
    if (begin < end)
        fetch(stages, weights, outputs, source, first[begin], first[begin + 1] - first[begin], begin, quads, tile, steps);
    end_of_stage();

    float z[2][4][PAIRS][4];
#pragma unroll
    for (int i = 0; i < 2 * 4 * PAIRS * 4; i++) z[i / (16 * PAIRS)][i / (4 * PAIRS) % 4][i / 4 % PAIRS][i % 4] = 0;

    const u32 chunk = (4 * wb + lane / 8 % 2) << 4;
    const bool holder = lane / 8 == lane % 4;
    int next = first[min(begin + 1, quads)], after = first[min(begin + 2, quads)];
    for (int quad = begin; quad < end; quad++) {
        const u32 count = counts[quad];
        const int later = first[min(quad + 3, quads)];
        const int slot = (quad - begin) % 2;
        await_stages();
        __syncthreads();
        if (quad + 1 < end)
            fetch(stages + (1 - slot) * STAGE_BYTES, weights, outputs, source, next, after - next, quad + 1, quads, tile,
                  steps);
        end_of_stage();
        next = after, after = later;

        const u8* stage = stages + slot * STAGE_BYTES;
        const uint4* w = reinterpret_cast<const uint4*>(stage + wn * MAX_STEPS * TILE_BYTES) + lane;
        const u32* place = reinterpret_cast<const u32*>(stage + WN * (MAX_STEPS * TILE_BYTES + OUTPUT_BYTES)) + lane % 8 +
                           lane / 16 * 8;
        u32 active_units[QUAD][2][2][2];
#pragma unroll
        for (int u = 0; u < QUAD; u++) {
            float h[2][2][4] = {};
            int left = count >> 8 * u & 0xFF;
#pragma unroll 1
            for (; left >= 4; left -= 4, w += 4 * 32, place += 4 * STEP) products<4>(h, w, place, memory, chunk);
            if (left & 2) products<2>(h, w, place, memory, chunk), w += 2 * 32, place += 2 * STEP;
            if (left & 1) products<1>(h, w, place, memory, chunk), w += 32, place += STEP;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const float(&four)[4] = h[i / 4][i / 2 % 2];
                active_units[u][i / 4][i / 2 % 2][i % 2] = active(four[2 * (i % 2)], four[2 * (i % 2) + 1]);
            }
        }
        const uint4* above = reinterpret_cast<const uint4*>(stage + WN * MAX_STEPS * TILE_BYTES + wn * OUTPUT_BYTES);
        add_classes(z, active_units, above + lane / 4, holder);
    }

    // Each lane has every class of its four images and four genotypes.
#pragma unroll
    for (int set = 0; set < 4; set++) {
        const int individual = (tile + wn) * ROWS + set / 2 * 8 + lane % 4 * 2 + set % 2;
        float paid = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int image = blockIdx.x * IMAGES + 32 * wb + 8 * i + lane / 4;
            const float(&own)[PAIRS][4] = z[i / 2][set];
            if (image >= B) continue;
            if (rewarded) {
                float most = own[0][i % 2 * 2], total = 0, right = 0;
#pragma unroll
                for (int c = 1; c < C; c++) most = fmaxf(most, own[c / 2][i % 2 * 2 + c % 2]);
                const int label = int(labels[image]);
#pragma unroll
                for (int c = 0; c < C; c++) {
                    const float scaled = (own[c / 2][i % 2 * 2 + c % 2] - most) / temperature;
                    total += expf(scaled);
                    if (c == label) right = scaled;
                }
                paid += fmaxf(ceiling + right - logf(total), 0);
            } else if (individual < N) {
#pragma unroll
                for (int c = 0; c < C; c++)
                    out[((u64(blockIdx.z) * N + individual) * C + c) * B + image] = own[c / 2][i % 2 * 2 + c % 2];
            }
        }
        if (rewarded) {
            for (int apart = 4; apart < 32; apart *= 2) paid += __shfl_xor_sync(0xFFFFFFFFu, paid, apart);
            if (lane < 4 && individual < N) out[u64(blockIdx.x * WB + wb) * N + individual] = paid;
        }
    }
}
