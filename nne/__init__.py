"""Neural net evolution: the weights are a sparse linear function of genes, and gene frequencies evolve (Sec. 2)."""
