// Prints what the kernel was compiled for, and a fingerprint of everything that it computes for one small generation:
// to be compiled for other processors, where there is no Python.

#include <cstdio>

#include "kernel.cpp"

static uint32_t state = 1;

static uint32_t random_bits() { return state = state * 1664525u + 1013904223u, scramble(state); }
static float random_float() { return float(random_bits() >> 8) / float(1 << 24); }  // exact, in [0, 1)

static uint64_t fingerprint = 14695981039346656037ull;

template <typename T>
static void add(const std::vector<T>& found) {  // FNV-1a
    const auto* bytes = reinterpret_cast<const uint8_t*>(found.data());
    for (size_t i = 0; i < found.size() * sizeof(T); i++) fingerprint = (fingerprint ^ bytes[i]) * 1099511628211ull;
}

int main() {
    const int units = 37, classes = 7, pixels = 60, genes = 211, threads = 2;
    const int64_t individuals = 150, count = 70;
    std::vector<int32_t> first{0}, source, row{0}, gene;
    std::vector<float> value;
    for (int j = 0; j < units; j++) {
        for (int p = 0; p < pixels; p++)
            if (random_float() < 0.3f) source.push_back(p);
        first.push_back(source.size());
    }
    for (size_t link = 0; link < source.size() + units * classes; link++) {
        for (int g = 0; g < genes; g++)
            if (random_float() < 0.05f) gene.push_back(g), value.push_back(2 * random_float() - 1);
        row.push_back(gene.size());
    }
    const std::vector<int32_t> alike(units);
    const Network net{units,      classes,     pixels,       genes,        first.data(), source.data(),
                      row.data(), gene.data(), value.data(), alike.data(), 0};
    std::vector<float> images(count * pixels);
    for (float& pixel : images) pixel = random_float() < 0.4f ? random_float() : 0;
    std::vector<int64_t> labels(count);
    for (int64_t& label : labels) label = random_bits() % classes;

    std::vector<int32_t> which(genes), threshold(genes), keys(2 * individuals);
    for (int g = 0; g < genes; g++) which[g] = g, threshold[g] = random_bits();
    for (int32_t& key : keys) key = random_bits();
    std::vector<uint8_t> x(individuals * genes);
    draw(which.data(), threshold.data(), std::vector<uint8_t>(genes).data(), genes, keys.data(), individuals, x.data(),
         threads);

    std::vector<int64_t> first_active(2 * units + 1);
    std::vector<int32_t> start(2 * units * (AT_ONCE + 1));
    build_index(&net, images.data(), count, first_active.data(), start.data(), nullptr, threads);
    std::vector<ActiveInput> active(first_active.back() + 1);
    build_index(&net, images.data(), count, first_active.data(), start.data(), active.data(), threads);
    const Seen seen{count, first_active.data(), start.data(), active.data()};

    std::vector<float> logits(count * classes * individuals);
    evaluate(&net, x.data(), individuals, &seen, logits.data(), threads);
    std::vector<double> fitness(individuals), sums(genes);
    rewards(&net, x.data(), individuals, &seen, labels.data(), 0.7f, 3.8f, fitness.data(), threads);
    carrier_sums(x.data(), individuals, genes, fitness.data(), 1, sums.data(), threads);

    add(x), add(logits), add(fitness), add(sums);
    std::printf("%s, %016llx\n", instructions(), static_cast<unsigned long long>(fingerprint));
}
