// Vectors as wide as the hardware's, and arithmetic on them that has the same bits on every processor with FMA.
//
// Wider ones would do, but compilers turn their comparisons into scalar code; and a comparison that selects is written
// as a mask, which all of them understand.

#pragma once

#include <cstdint>
#include <cstring>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

// Bytes of a vector; vectors of a block of genotypes, and images whose sums over a layer stay in registers.
#if defined(__AVX512F__)
#define INSTRUCTIONS "AVX-512"
constexpr int BYTES = 64, VECS = 8, IMAGES = 4;  // 32 registers
#elif defined(__AVX2__)
#define INSTRUCTIONS "AVX2"
constexpr int BYTES = 32, VECS = 8, IMAGES = 2;  // 16 registers
#elif defined(__aarch64__)
#define INSTRUCTIONS "NEON"
constexpr int BYTES = 16, VECS = 16, IMAGES = 4;  // 32 registers
#else
#define INSTRUCTIONS "128-bit vectors"
constexpr int BYTES = 16, VECS = 8, IMAGES = 2;
#endif
#if defined(__FMA__) || defined(__aarch64__)
constexpr bool FMA = true;
#else
constexpr bool FMA = false;
#endif

typedef float Vec __attribute__((vector_size(BYTES)));
typedef int32_t Ints __attribute__((vector_size(BYTES)));

constexpr int WIDTH = BYTES / 4, LANES = VECS * WIDTH;  // of a vector, and of a block
constexpr int PER_WORD = 32 / WIDTH;                    // vectors whose lanes have their bits in one word
template <int V>
constexpr int WORDS = V / PER_WORD;  // of V vectors

Vec relu(Vec v) { return Vec(Ints(v) & (v > 0)); }

Vec larger(Vec a, Vec b) {
    const Ints first = a > b;
    return Vec((Ints(a) & first) | (Ints(b) & ~first));
}

Vec polynomial(Vec, Vec sum) { return sum; }

// Horner's rule: the leading coefficient comes first.
template <typename... Rest>
Vec polynomial(Vec x, Vec sum, float next, Rest... rest) {
    return polynomial(x, sum * x + next, rest...);
}

// exp and log as in Cephes (S. Moshier), within 2^-22 of the result, by operations that are the same everywhere.
constexpr float LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440e-4f;

// x from -87 to 0; less is taken for -87.
Vec exp_of(Vec x) {
    const Vec shift = Vec{} + 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    x = larger(x, Vec{} - 87.0f);
    const Vec shifted = x * 1.44269504f + shift, n = shifted - shift;
    Vec r = x - n * LN2_HIGH;
    r = r - n * LN2_LOW;
    const Vec square = r * r;
    const Vec sum = polynomial(r, Vec{} + 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                               1.6666665459e-1f, 5.0000001201e-1f);
    const Vec y = (sum * square + r) + 1.0f;
    return Vec(Ints(y) + ((Ints(shifted) - Ints(shift)) << 23));
}

// x of at least 1.
Vec log_of(Vec x) {
    const Ints exponent = (Ints(x) - 0x3F3504F3) >> 23;  // of 2, so that what is left is near 1
    const Vec n = __builtin_convertvector(exponent, Vec), r = Vec(Ints(x) - (exponent << 23)) - 1.0f, square = r * r;
    Vec y = polynomial(r, Vec{} + 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f,
                       1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f);
    y = y * r * square;
    y = y + n * LN2_LOW;
    y = y - square * 0.5f;
    return (r + y) + n * LN2_HIGH;
}

// A word has the bits of PER_WORD vectors' lanes; this is where.
struct Lanes {
    Ints of[PER_WORD];
    Lanes() {
        for (int v = 0; v < PER_WORD; v++)
            for (int lane = 0; lane < WIDTH; lane++) of[v][lane] = int32_t(1u << (v * WIDTH + lane));
    }
};

// sum: [V] += value, in the lanes whose bits are set in words: [WORDS].
template <int V>
void add_where(const uint32_t* words, [[maybe_unused]] const Lanes& lanes, float value, Vec* sum) {
#ifdef __AVX512F__
    for (int v = 0; v < V; v++) {
        uint16_t bits;
        std::memcpy(&bits, reinterpret_cast<const char*>(words) + v * sizeof bits, sizeof bits);
        sum[v] = _mm512_mask_add_ps(sum[v], bits, sum[v], _mm512_set1_ps(value));
    }
#else
    for (int v = 0; v < V; v++) {
        const Ints lane = lanes.of[v % PER_WORD], word = Ints{} + int32_t(words[v / PER_WORD]);
        sum[v] += Vec(((word & lane) == lane) & Ints(Vec{} + value));
    }
#endif
}

}  // namespace
