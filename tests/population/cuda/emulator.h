// A CPU that plays a GPU: a thread for each of a block's, block after block. What a warp does together, its threads do
// by exchanging what they hold; copies into shared memory arrive no sooner than they are waited for; shared memory holds
// nonsense at first. Launched as by cuLaunchKernel: `emulate(name, grid, threads, shared, arguments)`.

#include <atomic>
#include <barrier>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#define EMULATED
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define DYNAMIC_SHARED(name) unsigned char* name = block->shared.data() + block->offset

struct uint2 { unsigned x, y; };
struct uint4 { unsigned x, y, z, w; };
struct Place { unsigned x = 0, y = 0, z = 0; };

struct Warp {
    std::barrier<> meet{32};
    const void* rows[32];
    uint4 a[32];
    unsigned b[32][2];
    float value[32];
};

struct Block {
    std::barrier<> meet;
    std::vector<unsigned char> shared;
    std::size_t offset;
    std::vector<std::unique_ptr<Warp>> warps;
    Block(int threads, int bytes) : meet(threads), shared(bytes + 128, 0xFF) {
        offset = (128 - reinterpret_cast<std::uintptr_t>(shared.data()) % 128) % 128;
        for (int i = 0; i < threads; i += 32) warps.push_back(std::make_unique<Warp>());
    }
};

struct Copy { void* to; const void* from; };

static thread_local Place threadIdx, blockIdx, blockDim, gridDim;
static thread_local Block* block;
static thread_local std::deque<std::vector<Copy>> stages;
static thread_local std::vector<Copy> next_stage;

static Warp& own_warp() { return *block->warps[threadIdx.x / 32]; }
static int own_lane() { return threadIdx.x % 32; }
static void __syncthreads() { block->meet.arrive_and_wait(); }
static void __syncwarp() { own_warp().meet.arrive_and_wait(); }
static unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }

static float __shfl_xor_sync(unsigned, float value, int mask) {
    Warp& warp = own_warp();
    warp.value[own_lane()] = value;
    __syncwarp();
    const float other = warp.value[own_lane() ^ mask];
    __syncwarp();
    return other;
}

static void copy_async(void* to, const void* from) { next_stage.push_back({to, from}); }

static void end_of_stage() {
    stages.push_back(std::move(next_stage));
    next_stage.clear();
}

static void await_stages() {
    for (; !stages.empty(); stages.pop_front())
        for (const Copy& copy : stages.front()) std::memcpy(copy.to, copy.from, 16);
}

static uint4 load_transposed(const void* row) {
    Warp& warp = own_warp();
    const int lane = own_lane();
    warp.rows[lane] = row;
    __syncwarp();
    unsigned m[4];
    for (int i = 0; i < 4; i++) {
        std::uint16_t pair[2];
        for (int half = 0; half < 2; half++)
            pair[half] = static_cast<const std::uint16_t*>(warp.rows[8 * i + lane % 4 * 2 + half])[lane / 4];
        m[i] = pair[0] | unsigned(pair[1]) << 16;
    }
    __syncwarp();
    return {m[0], m[1], m[2], m[3]};
}

static unsigned bfloat16(float value);

static unsigned active(float low, float high) {
    return bfloat16(low > 0 ? low : 0) | bfloat16(high > 0 ? high : 0) << 16;
}

static unsigned __byte_perm(unsigned low, unsigned high, unsigned selection) {
    const std::uint64_t bytes = low | std::uint64_t(high) << 32;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) result |= unsigned(bytes >> 8 * (selection >> 4 * i & 7) & 0xFF) << 8 * i;
    return result;
}

static void atomicAdd(double* sum, double value) { std::atomic_ref<double>(*sum).fetch_add(value); }

static float widened(unsigned pair, int half) { return std::bit_cast<float>((half ? pair >> 16 : pair & 0xFFFF) << 16); }

static void multiply(float (&c)[4], const uint4& a, unsigned b0, unsigned b1) {
    Warp& warp = own_warp();
    const int lane = own_lane();
    warp.a[lane] = a;
    warp.b[lane][0] = b0, warp.b[lane][1] = b1;
    __syncwarp();
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; k++) {
            const uint4& held = warp.a[row % 8 * 4 + k % 8 / 2];
            const unsigned registers[4] = {held.x, held.y, held.z, held.w};
            const float left = widened(registers[row / 8 + k / 8 * 2], k % 2);
            c[i] += left * widened(warp.b[column * 4 + k % 8 / 2][k / 8], k % 2);
        }
    }
    __syncwarp();
}

static int min(int a, int b) { return a < b ? a : b; }
