"""Does evolution optimise the architecture (Sec. 4, item 4)? What a network is made of, and what it can do without.

A network here is its matrices, layer by layer, ``[N, units, sources]`` for ``N`` individuals at once, outputs last
(``Topology.matrices``), without a cap.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nne.training.models.network import fire

ZERO = 0.01  # of the root mean square of a matrix: a weight below that counts as zero
ALIKE = 0.95  # correlation over images from which on two hidden units count as one


class Structure(NamedTuple):
    """Means over individuals.

    density: effective links as a share of all that a full graph could have.
    zero: share of the existing links whose weight is near zero.
    in_degree, out_degree: effective links into and out of a hidden unit.
    dead: share of hidden units that fire for no image.
    redundant: share of hidden units whose activity is that of another unit.
    """

    density: float
    zero: float
    in_degree: float
    out_degree: float
    dead: float
    redundant: float


def participation(weights: Tensor, dim: int) -> Tensor:
    """How many weights count: ``(sum w^2)^2 / sum w^4``, which is k for k equal ones among zeros; 0 for none."""
    square = weights.double().square()
    return square.sum(dim).square() / square.square().sum(dim).clamp(min=torch.finfo(torch.float64).tiny)


def activities(matrices: list[Tensor], images: Tensor) -> list[Tensor]:
    """What every hidden layer does on images ``[B, inputs]``: ``[N, units, B]`` each."""
    layers = [images.T.to(matrices[0]).expand(len(matrices[0]), -1, -1)]
    for matrix in matrices[:-1]:
        layers.append(fire(matrix @ layers[-1], None, dim=1))
    return layers[1:]


def logits(matrices: list[Tensor], images: Tensor) -> Tensor:
    """``[N, C, B]``."""
    return matrices[-1] @ activities(matrices, images)[-1]


def structure(matrices: list[Tensor], present: list[Tensor], images: Tensor) -> Structure:
    """Measure networks, with their hidden units at work on images ``[B, inputs]``.

    Args:
        present: which links there are, ``[units, sources]`` bool, layer by layer.
    """
    layers = activities(matrices, images)
    links = [matrix[:, there] for matrix, there in zip(matrices, present, strict=True)]
    near = [w.abs() <= ZERO * w.square().mean().sqrt() for w in links]
    return Structure(
        density=sum(float(participation(w, 1).mean()) for w in links) / sum(there.numel() for there in present),
        zero=_mean(near),
        in_degree=_mean([participation(matrix, 2) for matrix in matrices[:-1]]),
        out_degree=_mean([participation(matrix, 1) for matrix in matrices[1:]]),
        dead=_mean([dead(h) for h in layers]),
        redundant=_mean([(twins(h) >= 0) for h in layers]),
    )


def dead(h: Tensor) -> Tensor:
    """``[N, units]`` bool: who fires for no image, of activities ``[N, units, B]``."""
    return ~(h > 0).any(dim=2)


def twins(h: Tensor) -> Tensor:
    """``[N, units]``: for each unit the earlier one whose activity correlates most with its own, -1 if none is alike.

    A unit is compared with those alone that have no such twin themselves: one of each family is left.
    """
    centred = h.double() - h.double().mean(dim=2, keepdim=True)
    unit = centred / centred.norm(dim=2, keepdim=True).clamp(min=1e-12)
    likeness = (unit @ unit.transpose(1, 2)).tril(-1)
    twin = torch.full(h.shape[:2], -1, device=h.device)
    single = torch.ones_like(twin, dtype=torch.bool)
    candidates = (likeness >= ALIKE).any(dim=2).any(dim=0).nonzero()[:, 0].tolist()
    for j in candidates:
        most, which = likeness[:, j].masked_fill(~single, 0).max(dim=1)
        alike = most >= ALIKE
        twin[:, j] = torch.where(alike, which, -1)
        single[:, j] = ~alike
    return twin


def without_idle_units(matrices: list[Tensor], images: Tensor) -> list[Tensor]:
    """The networks with their dead units cut off, and each redundant one's output given to its twin.

    A twin takes over the outgoing weights times the slope of the regression of one activity on the other.
    """
    pruned = [matrix.clone() for matrix in matrices]
    for i, h in enumerate(activities(matrices, images)):
        pruned[i][dead(h)] = 0
        which = twins(h)
        for individual, unit in (which >= 0).nonzero().tolist():
            twin = int(which[individual, unit])
            first, second = h[individual, unit], h[individual, twin]
            slope = (first @ second) / (second @ second)
            pruned[i + 1][individual, :, twin] += slope * pruned[i + 1][individual, :, unit]
            pruned[i + 1][individual, :, unit] = 0
            pruned[i][individual, unit] = 0
    return pruned


def without_weakest(matrices: list[Tensor], share: float) -> list[Tensor]:
    """The networks with a share of the existing links of each layer cut, those with the smallest weights."""
    pruned = []
    for matrix in matrices:
        size = matrix.abs().flatten(1).sort(dim=1).values
        absent = (size == 0).sum(dim=1)
        last = absent + ((matrix[0].numel() - absent) * share).long()
        least = size.gather(1, last.clamp(max=size.shape[1] - 1)[:, None])[:, :, None]
        pruned.append(torch.where(matrix.abs() < least, 0, matrix))
    return pruned


def _mean(parts: list[Tensor]) -> float:
    return float(torch.cat([part.double() for part in parts], dim=1).mean())
