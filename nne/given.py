"""What the caller of a search gives it: numbers, read and checked."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nne.fitness import exact_sum
from nne.training.errors import UserError, first_line, require

NOBODY = -(2.0**498)  # the fitness of a generation of which nobody is feasible: no other is so low


def as_numbers(given: ArrayLike | Tensor, like: Tensor, expected: str = "fitness must be numbers") -> Tensor:
    """What was given, as a tensor of the type and device of ``like``.

    Raises:
        UserError: it is no numbers; what was ``expected``, and what it is.
    """
    try:
        return torch.as_tensor(given, dtype=like.dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{expected}, got {type(given).__name__} ({first_line(error)})") from error


def feasible(delta: Tensor) -> Tensor:
    """Fitness ``[..., N]`` with numbers for ``-inf``: as far below the least other as that is below their mean.

    Where all are ``-inf``, a number that any fitness is above.
    """
    out = torch.isneginf(delta)
    count = (~out).sum(dim=-1, keepdim=True)
    least = torch.where(out, float("inf"), delta).amin(dim=-1, keepdim=True)
    mean = exact_sum(torch.where(out, 0.0, delta))[..., None] / count
    return torch.where(out, torch.where(count > 0, 2 * least - mean, NOBODY), delta)


def frequencies(p0: float | ArrayLike | Tensor, genes: int) -> Tensor:
    """Allele frequencies ``[n]`` float64, all alike if ``p0`` is one number.

    Raises:
        UserError: they are not numbers from 0 to 1, or not ``n``.
    """
    p = as_numbers(p0, torch.empty(0, dtype=torch.float64), f"p0 must be one number or {genes}")
    require(p.shape in ((), (genes,)), f"p0 must be one number or {genes}, got {list(p.shape)}")
    require(bool(((p >= 0) & (p <= 1)).all()), "p0 must be from 0 to 1")
    return p.expand(genes).clone()
