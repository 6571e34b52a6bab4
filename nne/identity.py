"""What a saved state belongs to: the settings without which the same numbers would go another way."""

import torch
from torch import Tensor

from nne.training.errors import require
from nne.training.learner import State


def written(settings: str) -> Tensor:
    """As a state holds it under ``belongs_to``: UTF-8, ``[bytes]`` uint8."""
    return torch.tensor(list(settings.encode()), dtype=torch.uint8)


def must_belong(state: State, settings: str, what: str) -> None:
    """Compare with what a state was written by.

    Raises:
        UserError: it was saved with other settings.
    """
    theirs = bytes(state["belongs_to"].tolist()).decode() if "belongs_to" in state else "another version"
    require(theirs == settings, f"the checkpoint is of {theirs}; this {what} has {settings}")
