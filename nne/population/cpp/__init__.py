"""Populations on a CPU by a C++ kernel, compiled for the machine at hand."""
