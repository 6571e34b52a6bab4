"""Populations on a GPU by Triton kernels."""
