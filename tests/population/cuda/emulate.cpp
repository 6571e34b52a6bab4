// The kernels of kernels.cu, run by emulator.h.

#include "emulator.h"
#include "kernels.cu"

template <class... A>
static void call(void (*kernel)(A...), void** arguments) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
        kernel(*static_cast<A*>(arguments[I])...);
    }(std::index_sequence_for<A...>{});
}

static void run(const std::string& name, void** arguments) {
    if (name == "draw") call(draw, arguments);
    if (name == "pack") call(pack, arguments);
    if (name == "express_edges") call(express_edges, arguments);
    if (name == "express_outputs") call(express_outputs, arguments);
    if (name == "evaluate") call(evaluate, arguments);
}

extern "C" void emulate(const char* name, int x, int y, int threads, int shared, void** arguments) {
    for (int i = 0; i < x * y; i++) {
        Block here(threads, shared);
        std::vector<std::thread> all;
        for (int t = 0; t < threads; t++)
            all.emplace_back([&, t] {
                threadIdx = {unsigned(t)}, blockIdx = {unsigned(i % x), unsigned(i / x)};
                blockDim = {unsigned(threads)}, gridDim = {unsigned(x), unsigned(y)};
                block = &here;
                run(name, arguments);
            });
        for (std::thread& each : all) each.join();
    }
}
