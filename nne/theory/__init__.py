"""Linear targets and Theorems 1 and 2, checked by experiment (Sec. 2.1)."""
