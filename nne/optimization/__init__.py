"""Any fitness of binary genes: the best of them within a budget of evaluations, without settings to choose."""
