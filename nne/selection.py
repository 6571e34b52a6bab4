"""Selection: how allele frequencies move from one generation to the next."""

import torch
from torch import Tensor


def weak_selection(p: Tensor, f: Tensor, f_bar: Tensor, epsilon: float) -> Tensor:
    """The population-genetics update in the weak selection regime, Eq. (3).

        p' = p (1 + epsilon f),   q' = (1 - p) (1 + epsilon f_bar),   p^{t+1} = p' / (p' + q')

    ``1 + epsilon f`` is the expected offspring of the carriers of an allele and cannot be negative: when every
    carrier did so badly that it would be, they have none, and the allele is lost.

    Args:
        p: ``[n]`` allele frequencies.
        f, f_bar: ``[n]`` mean fitness with and without the allele.
        epsilon: strength of selection.
    """
    present = p * (1 + epsilon * f).clamp(min=0)
    absent = (1 - p) * (1 + epsilon * f_bar).clamp(min=0)
    offspring = present + absent
    return torch.where(offspring > 0, present / offspring, p)
