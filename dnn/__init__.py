"""Dopaminergic neural nets: learning in a lifetime by rewarding the links that fired (Sec. 3.2)."""
