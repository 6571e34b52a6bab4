"""Neural net evolution: the weights are a sparse linear function of genes, and gene frequencies evolve (Sec. 2).

``from nne import Evolution`` evolves binary genes for any fitness, ``Islands`` many populations of them side by side,
``WrightFisher`` a population whose genomes are inherited, ``ModulePopulation`` any network of PyTorch;
``optimize`` finds the best genotype within a budget, without settings, and ``Optimizer`` does so by ask and tell.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nne.evolution import Evolution
    from nne.islands import Islands
    from nne.optimization.optimizer import Optimizer, optimize, run
    from nne.population.module import ModulePopulation
    from nne.wright_fisher import WrightFisher

__all__ = ["Evolution", "Islands", "ModulePopulation", "Optimizer", "WrightFisher", "__version__", "optimize", "run"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Import on first use: configurations are read without torch."""
    homes = {
        "Evolution": "nne.evolution",
        "Islands": "nne.islands",
        "ModulePopulation": "nne.population.module",
        "WrightFisher": "nne.wright_fisher",
        **dict.fromkeys(("Optimizer", "optimize", "run"), "nne.optimization.optimizer"),
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
