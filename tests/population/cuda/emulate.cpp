// The kernels of genotypes.cu, and of networks.cu where its sizes are defined, run by emulator.h.

#include "emulator.h"
#include "genotypes.cu"
#ifdef C
#include "networks.cu"
#endif

template <class... A>
static void call(void (*kernel)(A...), void** arguments) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
        kernel(*static_cast<A*>(arguments[I])...);
    }(std::index_sequence_for<A...>{});
}

static void run(const std::string& name, void** arguments) {
    if (name == "draw") call(draw, arguments);
    if (name == "pack") call(pack, arguments);
    if (name == "carrier_sums") call(carrier_sums, arguments);
#ifdef C
    if (name == "express_edges") call(express_edges, arguments);
    if (name == "express_outputs") call(express_outputs, arguments);
    if (name == "evaluate") call(evaluate, arguments);
#endif
}

extern "C" void emulate(const char* name, int x, int y, int z, int threads, int shared, void** arguments) {
    for (int i = 0; i < x * y * z; i++) {
        Block here(threads, shared);
        std::vector<std::thread> all;
        for (int t = 0; t < threads; t++)
            all.emplace_back([&, t] {
                threadIdx = {unsigned(t)}, blockIdx = {unsigned(i % x), unsigned(i / x % y), unsigned(i / x / y)};
                blockDim = {unsigned(threads)}, gridDim = {unsigned(x), unsigned(y), unsigned(z)};
                block = &here;
                run(name, arguments);
            });
        for (std::thread& each : all) each.join();
    }
}
