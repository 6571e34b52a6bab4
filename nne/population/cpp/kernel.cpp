// One generation on a CPU: genotypes drawn from their counters, and their networks of one hidden layer evaluated.
//
// The lanes of a vector are genotypes, and genotypes are bits: a gene that touches a link adds its value to the weight
// in the lanes that carry it. The weights of a few hidden units at a time are made, used on every image and forgotten.
// What all genotypes share is looked up once: which edges of a unit see a pixel that is not zero, image by image.
// Absent edges and black pixels cost nothing. Blocks of genotypes are independent; threads take them in turn.
//
// Every lane adds up in the same order whatever the width of a vector, so no bit of the result depends on the number of
// threads, the compiler or the processor, as long as it multiplies and adds in one rounding (FMA).

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "vectors.h"

namespace {

constexpr int UNITS = 8, AT_ONCE = 64;  // hidden units and images at a time: their activity stays in the cache
constexpr int CLASSES = 5;              // of the output layer at a time: their sums stay in registers
constexpr int64_t GENES = 1024;         // genes at a time: what their carriers sum up to stays in the cache

int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

template <typename Work>
void in_parallel(int64_t tasks, int threads, Work work) {
    std::atomic<int64_t> next{0};
    auto run = [&] {
        for (int64_t i; (i = next++) < tasks;) work(i);
    };
    std::vector<std::thread> others;
    for (int64_t t = 1; t < std::min<int64_t>(threads, tasks); t++) others.emplace_back(run);
    run();
    for (auto& other : others) other.join();
}

// The finaliser of nne/genome.py.
uint32_t scramble(uint32_t u) {
    u = (u ^ u >> 16) * 0x7FEB352Du;
    u = (u ^ u >> 15) * 0x846CA68Bu;
    return u ^ u >> 16;
}

// One individual's alleles: x: [n] bool.
void draw_one(const int32_t* __restrict gene, const int32_t* __restrict threshold, const uint8_t* __restrict always,
              int64_t n, uint32_t first, uint32_t second, uint8_t* __restrict x) {
    for (int64_t g = 0; g < n; g++) {
        const uint32_t u = scramble(scramble(uint32_t(gene[g]) * 0x9E3779B9u + first) + second);
        x[g] = (int32_t(u) < threshold[g]) | always[g];
    }
}

// sums: [n] += value, of the genes that somebody carries.
void add_carrier(const uint8_t* __restrict x, double value, double* __restrict sums, int64_t n) {
    for (int64_t g = 0; g < n; g++) sums[g] += value * x[g];
}

}  // namespace

extern "C" {

// W row by row: the edges, unit by unit and pixel by pixel, then the output links.
struct Network {
    int32_t units, classes, pixels, genes;
    const int32_t* first;   // [units + 1], each unit's first edge
    const int32_t* source;  // [edges], its pixel
    const int32_t* row;     // [links + 1], where the entries of a link begin
    const int32_t* gene;    // [entries]
    const float* value;     // [entries]
    const int32_t* alike;   // [units], how many of a unit's first edges have the rows of the unit before
    int32_t rectified;      // whether weights are relu(W x) rather than W x
};

// The most that any unit has; at least one.
static int most_edges(const Network* net) {
    int most = 1;
    for (int j = 0; j < net->units; j++) most = std::max(most, net->first[j + 1] - net->first[j]);
    return most;
}

// An edge of a hidden unit that sees a pixel which is not zero: its place among the unit's, and what it sees.
struct ActiveInput {
    int32_t place;
    float light;
};

// x: [individuals, n] bool; keys: [individuals, 2].
void draw(const int32_t* gene, const int32_t* threshold, const uint8_t* always, int64_t n, const int32_t* keys,
          int64_t individuals, uint8_t* x, int threads) {
    in_parallel(individuals, threads, [=](int64_t i) {
        draw_one(gene, threshold, always, n, keys[2 * i], keys[2 * i + 1], x + i * n);
    });
}

// sums: [rows, n] += over the carriers of each gene, those of rows: [rows, individuals]; x: [individuals, n] bool.
void carrier_sums(const uint8_t* x, int64_t individuals, int64_t n, const double* rows, int64_t count, double* sums,
                  int threads) {
    in_parallel(rounded_up(n, GENES) / GENES, threads, [=](int64_t block) {
        const int64_t from = block * GENES, here = std::min(GENES, n - from);
        for (int64_t i = 0; i < individuals; i++)
            for (int64_t r = 0; r < count; r++)
                add_carrier(x + i * n + from, rows[r * individuals + i], sums + r * n + from, here);
    });
}

// The inputs that are active, in blocks of AT_ONCE images. Those of block b and unit j begin at entry b * units + j of
// first_active: [blocks * units + 1], and those of its images from there on at start: [blocks * units][AT_ONCE + 1].
// Without room for them, first_active is filled, and its last entry says how many there are.
void build_index(const Network* net, const float* images, int64_t count, int64_t* first_active, int32_t* start,
                 ActiveInput* active, int threads) {
    const int64_t blocks = rounded_up(count, AT_ONCE) / AT_ONCE;
    in_parallel(blocks, threads, [=](int64_t block) {
        std::vector<uint64_t> lit(net->pixels);  // a bit for each image that has light there
        for (int64_t i = 0; i < std::min<int64_t>(AT_ONCE, count - block * AT_ONCE); i++)
            for (int p = 0; p < net->pixels; p++)
                lit[p] |= uint64_t(images[(block * AT_ONCE + i) * net->pixels + p] != 0) << i;
        const int widest = most_edges(net);
        std::vector<ActiveInput> found(AT_ONCE * widest);
        for (int64_t j = block * net->units, unit = 0; unit < net->units; j++, unit++) {
            const int from = net->first[unit], to = net->first[unit + 1];
            if (!active) {
                int64_t& total = first_active[j + 1] = 0;
                for (int e = from; e < to; e++) total += std::popcount(lit[net->source[e]]);
                continue;
            }
            int n[AT_ONCE] = {};
            for (int e = from; e < to; e++)
                for (uint64_t see = lit[net->source[e]]; see; see &= see - 1) {
                    const int i = std::countr_zero(see);
                    const float light = images[(block * AT_ONCE + i) * net->pixels + net->source[e]];
                    found[i * widest + n[i]++] = {e - from, light};
                }
            int32_t* begin = start + j * (AT_ONCE + 1);
            begin[0] = 0;
            for (int i = 0; i < AT_ONCE; i++) {
                std::copy_n(&found[i * widest], n[i], active + first_active[j] + begin[i]);
                begin[i + 1] = begin[i] + n[i];
            }
        }
    });
    if (!active) std::partial_sum(first_active, first_active + blocks * net->units + 1, first_active);
}

}  // extern "C"

namespace {

// Weights of the links [from, to): [links][V], for V vectors of genotypes.
template <int V>
void express(const Network& net, int64_t from, int64_t to, const uint32_t* carriers, Vec* weights) {
    const Lanes lanes;
    for (int64_t link = from; link < to; link++, weights += V) {
        Vec sum[V] = {};
        for (int q = net.row[link]; q < net.row[link + 1]; q++)
            add_where<V>(carriers + int64_t(net.gene[q]) * WORDS<V>, lanes, net.value[q], sum);
        for (int v = 0; v < V; v++) weights[v] = net.rectified ? relu(sum[v]) : sum[v];
    }
}

// What one unit does: h: [count][V].
template <int V>
void fire(const ActiveInput* active, const int32_t* start, int64_t count, const Vec* weights, Vec* h) {
    for (int64_t s = 0; s < count; s++, h += V) {
        Vec sum[V] = {};
        for (int32_t q = start[s]; q < start[s + 1]; q++) {
            const Vec* w = weights + int64_t(active[q].place) * V;
            for (int v = 0; v < V; v++) sum[v] += w[v] * active[q].light;
        }
        for (int v = 0; v < V; v++) h[v] = relu(sum[v]);
    }
}

// logits: [count][classes][V] += the outputs of a few units, from h: [units][AT_ONCE][V] and w: [units][classes][V].
template <int V>
void answer(const Vec* h, const Vec* w, int units, int64_t count, int classes, Vec* logits) {
    for (int64_t s = 0; s < count; s += IMAGES)
        for (int c = 0; c < classes; c += CLASSES)
            for (int v = 0; v < V; v++) {
                Vec sum[IMAGES][CLASSES];
                Vec* out = logits + (s * classes + c) * V + v;
                for (int i = 0; i < IMAGES; i++)
                    for (int k = 0; k < CLASSES; k++) sum[i][k] = out[(i * classes + k) * V];
                for (int j = 0; j < units; j++) {
                    Vec weight[CLASSES];
                    for (int k = 0; k < CLASSES; k++) weight[k] = w[(int64_t(j) * classes + c + k) * V + v];
                    for (int i = 0; i < IMAGES; i++) {
                        const Vec active = h[(j * AT_ONCE + s + i) * V + v];
                        for (int k = 0; k < CLASSES; k++) sum[i][k] += active * weight[k];
                    }
                }
                for (int i = 0; i < IMAGES; i++)
                    for (int k = 0; k < CLASSES; k++) out[(i * classes + k) * V] = sum[i][k];
            }
}

// rewards: [V * WIDTH] += max(0, most - loss) of images with logits: [count][stride][V], of which classes are used.
template <int V>
void reward(const Vec* logits, const int64_t* labels, int64_t count, int stride, int classes, float temperature,
            float most, double* rewards) {
    for (int64_t s = 0; s < count; s++, logits += stride * V) {
        Vec found[V];
        for (int v = 0; v < V; v++) {
            const Vec* z = logits + v;
            Vec top = z[0] / temperature, sum = {};
            for (int c = 1; c < classes; c++) top = larger(top, z[c * V] / temperature);
            for (int c = 0; c < classes; c++) sum += exp_of(z[c * V] / temperature - top);
            const Vec loss = log_of(sum) - (z[labels[s] * V] / temperature - top);
            found[v] = relu(most - loss);
        }
        const float* lanes = reinterpret_cast<const float*>(found);
        for (int lane = 0; lane < V * WIDTH; lane++) rewards[lane] += lanes[lane];
    }
}

// What all genotypes are evaluated on: so many images, as build_index found them.
struct Seen {
    int64_t count;
    const int64_t* first_active;
    const int32_t* start;
    const ActiveInput* active;
};

// logits: [to - from][classes][V] of V vectors of genotypes, who and those after, on images [from, to).
template <int V>
void evaluate_block(const Network& net, const uint8_t* x, int64_t who, int64_t here, const Seen& seen, int64_t from,
                    int64_t to, int classes, Vec* logits) {
    const int64_t edges = net.first[net.units];
    const int widest = most_edges(&net);
    std::vector<uint32_t> carriers(int64_t(net.genes) * WORDS<V>);
    for (int64_t i = 0; i < here; i++)
        for (int64_t g = 0; g < net.genes; g++)
            carriers[g * WORDS<V> + i / 32] |= uint32_t(x[(who + i) * net.genes + g]) << i % 32;

    auto room = [](int64_t rows) { return std::vector<Vec>(rows * V); };
    auto w = room(UNITS * widest), h = room(UNITS * AT_ONCE), above = room(UNITS * classes);
    for (int64_t unit = 0; unit < net.units; unit += UNITS) {
        const int units = std::min<int64_t>(UNITS, net.units - unit);
        for (int j = 0; j < units; j++) {
            const int64_t outputs = edges + (unit + j) * net.classes;
            const int alike = net.alike[unit + j];  // expressed already, in the place before, which goes round
            std::copy_n(&w[(j + UNITS - 1) % UNITS * widest * V], alike * V, &w[j * widest * V]);
            express<V>(net, net.first[unit + j] + alike, net.first[unit + j + 1], carriers.data(),
                       &w[(j * widest + alike) * V]);
            express<V>(net, outputs, outputs + net.classes, carriers.data(), &above[j * classes * V]);
        }
        for (int64_t s = from; s < to; s += AT_ONCE) {
            const int64_t now = std::min<int64_t>(AT_ONCE, to - s);
            for (int j = 0; j < units; j++) {
                const int64_t which = s / AT_ONCE * net.units + unit + j;
                fire<V>(seen.active + seen.first_active[which], seen.start + which * (AT_ONCE + 1), now,
                        &w[j * widest * V], &h[j * AT_ONCE * V]);
            }
            answer<V>(h.data(), above.data(), units, now, classes, &logits[(s - from) * classes * V]);
        }
    }
}

// A few vectors of genotypes, who and those after, on some images, and their logits: [images][classes][vectors].
struct Block {
    int64_t who, here, from, to;
    int vectors, classes;
    const Vec* logits;
};

// Every block of genotypes on all images; use(block) is told of each, by several threads.
template <typename Use>
void in_blocks(const Network& net, const uint8_t* x, int64_t individuals, const Seen& seen, int threads, Use use) {
    const int64_t blocks = rounded_up(individuals, LANES) / LANES;
    const int64_t parts = std::max<int64_t>(threads / blocks, 1);  // of the images, where genotypes are few
    const int64_t part = rounded_up(rounded_up(seen.count, parts) / parts, AT_ONCE);
    const int classes = rounded_up(net.classes, CLASSES);
    in_parallel(blocks * parts, threads, [&](int64_t task) {
        const int64_t who = task / parts * LANES, from = task % parts * part, to = std::min(from + part, seen.count);
        if (from >= seen.count) return;
        const int64_t here = std::min<int64_t>(LANES, individuals - who);
        const int vectors = here <= 32 ? PER_WORD : VECS;
        std::vector<Vec> logits(rounded_up(to - from, AT_ONCE) * classes * vectors);
        auto evaluate = vectors == PER_WORD ? evaluate_block<PER_WORD> : evaluate_block<VECS>;
        evaluate(net, x, who, here, seen, from, to, classes, logits.data());
        use(Block{who, here, from, to, vectors, classes, logits.data()});
    });
}

}  // namespace

extern "C" {

// logits: [count, classes, individuals] of genotypes x: [individuals, genes] bool.
void evaluate(const Network* net, const uint8_t* x, int64_t individuals, const Seen* seen, float* logits, int threads) {
    in_blocks(*net, x, individuals, *seen, threads, [=](const Block& block) {
        const float* found = reinterpret_cast<const float*>(block.logits);
        for (int64_t s = block.from; s < block.to; s++)
            for (int c = 0; c < net->classes; c++) {
                const float* theirs = found + ((s - block.from) * block.classes + c) * block.vectors * WIDTH;
                std::copy_n(theirs, block.here, logits + (s * net->classes + c) * individuals + block.who);
            }
    });
}

// rewards: [individuals] += those of all images, with labels: [count]. No sum of them rounds: they may come in parts.
void rewards(const Network* net, const uint8_t* x, int64_t individuals, const Seen* seen, const int64_t* labels,
             float temperature, float most, double* rewards, int threads) {
    std::mutex adding;
    in_blocks(*net, x, individuals, *seen, threads, [=, &adding](const Block& block) {
        double found[LANES] = {};
        auto add = block.vectors == PER_WORD ? reward<PER_WORD> : reward<VECS>;
        add(block.logits, labels + block.from, block.to - block.from, block.classes, net->classes, temperature, most,
            found);
        const std::lock_guard<std::mutex> mine(adding);
        for (int64_t i = 0; i < block.here; i++) rewards[block.who + i] += found[i];
    });
}

// What it was compiled for.
const char* instructions() { return FMA ? INSTRUCTIONS " with FMA" : INSTRUCTIONS " without FMA"; }

}  // extern "C"
