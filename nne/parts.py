"""Fitness by parts: each gene is selected by one of several figures of an individual's fitness, that of its own part.

With ``f_k(i)`` the mean of figure ``k`` over the carriers of allele ``i``, and ``k`` its part, eq. (3) is as it was. So
is Lemma 1, part by part: for weak selection, ``p`` goes up the gradient of the part's own mean fitness.
"""

from collections.abc import Callable, Iterable

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nne.fitness import AlleleMeans, exact_sum, means_of, round_for_exact_sum
from nne.given import as_numbers
from nne.training.errors import require


class Parts:
    """Which of ``K`` figures of fitness counts for each allele.

    Attributes:
        row: ``[n]``, its number.
        order: ``[n]``, alleles of the same part side by side; None: they are so.
        sizes, count: how many alleles each figure counts for, as a list and as ``[K]``.
    """

    def __init__(self, row: Tensor, K: int) -> None:
        order = row.argsort(stable=True)
        self.row = row
        self.order = None if bool((row[order] == row).all()) else order
        self.count = torch.bincount(row, minlength=K)
        self.sizes = self.count.tolist()

    def among(self, free: Tensor) -> "Parts":
        """Of some alleles alone."""
        return Parts(self.row[free], len(self.sizes))


def sums_by_part(genotypes: Iterable[Tensor], rows: Tensor, parts: Parts) -> Tensor:
    """Sums over the carriers of each allele, of the row that counts for it, and how many they are: ``[2, n]`` float64.

    Args:
        genotypes: in tiles ``x: [tile, n]``.
        rows: ``[K, N]``.
        parts: which of the rows.
    """
    start, sums = 0, torch.zeros(2, len(parts.row), dtype=torch.float64, device=rows.device)
    for x in genotypes:
        by_part = x if parts.order is None else x[:, parts.order]
        told = rows[:, start : start + len(x)]
        counted = torch.stack([told, torch.ones_like(told)], dim=1)  # [K, 2, tile]
        of_parts = zip(counted, torch.split(by_part, parts.sizes, dim=1), strict=True)
        sums += torch.cat([of @ genes.double() for of, genes in of_parts], dim=1)
        start += len(x)
    return sums if parts.order is None else sums.index_copy(1, parts.order, sums)


def means_by_part(fitness: Tensor, parts: Parts, sums: Callable[[Tensor, Parts], Tensor]) -> AlleleMeans:
    """Mean fitness of the individuals with and without each allele, by the fitness that counts for it.

    Args:
        fitness: ``[K, N]``.
        parts: which of the ``K`` rows counts for each allele.
        sums: as ``sums_by_part``, over the population.
    """
    N = fitness.shape[1]
    rows = round_for_exact_sum(fitness)
    total, carriers = sums(rows, parts)
    whole = rows.sum(dim=1)
    variance = exact_sum((rows - whole[:, None] / N).square()) / N
    return means_of(total, carriers, whole[parts.row], variance[parts.row], N)


def parts_by_class(hidden: int, classes: int, each: int) -> Tensor:
    """The row of each gene: 0, everybody's, for those of hidden layers; then ``1 + c`` for those of class ``c``."""
    rows = torch.arange(1 + classes)
    return rows.repeat_interleave(torch.tensor([hidden, *[each] * classes]))


def parts_of(part: ArrayLike | Tensor, genes: int, device: torch.device | str) -> Parts:
    """The row of fitness of each gene.

    Raises:
        UserError: they are not ``n`` whole numbers from 0, or a row has no gene.
    """
    numbers = as_numbers(part, torch.empty(0, dtype=torch.float64), "part must be whole numbers, from 0")
    require(numbers.shape == (genes,), f"part must be of shape [{genes}], got {list(numbers.shape)}")
    rows = numbers.long()
    require(bool((rows == numbers).all()) and int(rows.min()) >= 0, "part must be whole numbers, from 0")
    without = [k for k, count in enumerate(torch.bincount(rows).tolist()) if k and not count]
    require(not without, f"part {next(iter(without), None)} has no gene")
    return Parts(rows.to(device), int(rows.max()) + 1)
