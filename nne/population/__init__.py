"""A whole population evaluated at once: genotypes x sparse W x images, by PyTorch, C++ or CUDA."""
