"""Dopaminergic neural nets: learning by rewarding the links that fired (Sec. 3.2).

``from dnn import RULES, Outcome, RandomFeatures``: what a loop of one's own is made of (scripts/examples/dopamine.py).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dnn.features import RandomFeatures
    from dnn.rules import RULES, Outcome

__all__ = ["RULES", "Outcome", "RandomFeatures"]


def __getattr__(name: str) -> Any:
    """Import on first use: configurations are read without torch."""
    homes = {"RandomFeatures": "dnn.features", "RULES": "dnn.rules", "Outcome": "dnn.rules"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
