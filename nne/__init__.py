"""Neural net evolution: the weights are a sparse linear function of genes, and gene frequencies evolve (Sec. 2).

``from nne import Evolution`` evolves binary genes for any fitness.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nne.evolution import Evolution

__all__ = ["Evolution"]


def __getattr__(name: str) -> Any:
    """Import on first use: configurations are read without torch."""
    if name != "Evolution":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nne.evolution import Evolution

    return Evolution
