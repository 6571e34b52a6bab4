"""Populations on a GPU by CUDA kernels of the project's own."""
