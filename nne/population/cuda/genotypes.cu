// Genotypes on a GPU: drawn, packed into bits, and added up over. Compiled by NVRTC when first wanted, for the GPU there is.

using u8 = unsigned char;
using u32 = unsigned int;
using u64 = unsigned long long;

__device__ __forceinline__ u32 scramble(u32 u) {
    u = (u ^ (u >> 16)) * 0x7FEB352Du;
    u = (u ^ (u >> 15)) * 0x846CA68Bu;
    return u ^ (u >> 16);
}

// x: [N, n] of individuals with keys: [N, 2], as nne.genome.draw has it; a thread for each gene of an individual.
extern "C" __global__ void draw(const int* genes, const int* threshold, const u8* always, const int* keys, u8* x, int n) {
    const int i = blockIdx.y * blockDim.x + threadIdx.x, individual = blockIdx.x;
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

// sums: [k, n] += rows: [k, N] over the carriers of each gene of x: [N, n]; a thread for each gene, row and some
// individuals. The figures add up without rounding, so threads may do so in any order.
extern "C" __global__ void carrier_sums(const u8* x, const double* rows, double* sums, int N, int n, int individuals) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.z;
    if (i >= n) return;
    const int begin = blockIdx.y * individuals, end = min(begin + individuals, N);
    double sum = 0;
#pragma unroll 8
    for (int a = begin; a < end; a++) {
        const double figure = rows[u64(row) * N + a];
        if (x[u64(a) * n + i]) sum += figure;
    }
    atomicAdd(sums + u64(row) * n + i, sum);
}
