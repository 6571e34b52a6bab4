"""Local optima in levels, mixed along the links that a level shows: the pyramid of Goldman and Punch.

Parameter-less population pyramid (Goldman and Punch 2014, doi 10.1145/2576768.2598350): a genotype from chance is
climbed to a local optimum by single flips and joins the lowest level. It is then mixed with level after level: for
every cluster of genes that belong together there, it tries what another individual has in their place, and keeps that
if it is no worse. What got better joins the next level. Clusters are a tree of pairs (Thierens 2010,
doi 10.1007/978-3-642-15844-5_27), by how much two genes of a level tell about each other.
"""

from collections.abc import Generator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

Genotypes: TypeAlias = NDArray[np.bool_]
Numbers: TypeAlias = NDArray[np.float64]
Search: TypeAlias = Generator[Genotypes, Numbers, None]
"""Yields genotypes ``[B, n]``, and is sent their fitness ``[B]``, more is better."""
Climb: TypeAlias = Generator[Genotypes, Numbers, float]
"""The same, and in the end gives the fitness of the genotype that it was given and has changed."""


class Level:
    """Genotypes of one level, and how often each pair of genes is 1 in both."""

    def __init__(self, n: int) -> None:
        self.genotypes: list[Genotypes] = []
        self.pairs = np.zeros((n, n), dtype=np.float32)
        self.tree: list[NDArray[np.intp]] = []

    def add(self, x: Genotypes) -> None:
        """One more; the tree is then to be made anew."""
        self.genotypes.append(x.copy())
        self.pairs += np.outer(x, x)
        self.tree = []

    def clusters(self, rng: np.random.Generator) -> list[NDArray[np.intp]]:
        """Sets of genes that belong together, the smallest first; among equals in an order from chance."""
        if not self.tree:
            self.tree = tree(distances(self.pairs, len(self.genotypes)), rng)
        return self.tree


def distances(pairs: NDArray[np.float32], N: int) -> Numbers:
    """``1 - I(i, j) / H(i, j)``, ``[n, n]``: 0 where one gene tells the other, 1 where it says nothing of it.

    Args:
        pairs: how many of ``N`` genotypes have both genes, ``[n, n]``; on the diagonal, those that have the one.
    """
    both = pairs.astype(np.float64)
    ones = np.diagonal(both)

    def entropy(*counts: Numbers) -> Numbers:
        shares = np.stack(counts) / N
        total: Numbers = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=0)
        return total

    only_i, only_j = ones[:, None] - both, ones[None] - both
    joint = entropy(both, only_i, only_j, N - both - only_i - only_j)
    single = entropy(ones, N - ones)
    told = np.where(joint > 0, (single[:, None] + single[None] - joint) / np.where(joint > 0, joint, 1.0), 0.0)
    return 1 - told


def tree(distance: Numbers, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """The clusters of average linkage, without the whole and without parts that are never apart."""
    n = len(distance)
    if n == 1:
        return [np.arange(1)]
    ties = 1e-9 * rng.random((n, n))  # equals are joined in an order from chance
    between = squareform(distance + ties + (distance + ties).T, checks=False) / 2
    members = [[gene] for gene in range(n)]
    apart = [True] * (2 * n - 1)
    for first, second, height, _ in linkage(between, "average"):
        members.append(members[int(first)] + members[int(second)])
        if height < 1e-6:
            apart[int(first)] = apart[int(second)] = False
    kept = [np.array(genes) for genes, shown in zip(members[:-1], apart, strict=False) if shown]
    order = sorted(range(len(kept)), key=lambda i: (len(kept[i]), rng.random()))
    return [kept[i] for i in order]


def climb(x: Genotypes, fitness: float, rng: np.random.Generator) -> Climb:
    """Flips of single genes, in an order from chance, while any of them helps; those that change nothing stay."""
    tried = np.zeros(len(x), dtype=bool)
    while not tried.all():
        for gene in rng.permutation(len(x)):
            if tried[gene]:
                continue
            x[gene] ^= True
            (flipped,) = yield x[None]
            if flipped > fitness:
                tried[:] = False
            elif flipped < fitness:
                x[gene] ^= True
            fitness = max(fitness, flipped)
            tried[gene] = True
    return fitness


def mix(x: Genotypes, fitness: float, level: Level, rng: np.random.Generator) -> Climb:
    """Each cluster in turn, from the first individual of the level, in an order from chance, that differs in it."""
    for genes in level.clusters(rng):
        for i in rng.permutation(len(level.genotypes)):
            other, own = level.genotypes[i][genes], x[genes]
            if (other != own).any():
                x[genes] = other
                (mixed,) = yield x[None]
                if mixed < fitness:
                    x[genes] = own
                fitness = max(fitness, mixed)
                break
    return fitness


class Pyramid:
    """The levels, the lowest first, and the search that builds them."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.n = n
        self.rng = rng
        self.levels: list[Level] = []
        self.seen: set[bytes] = set()

    def add(self, x: Genotypes, height: int) -> None:
        """Let a genotype join a level, unless it is in the pyramid."""
        if (packed := np.packbits(x).tobytes()) not in self.seen:
            self.seen.add(packed)
            self.levels.extend(Level(self.n) for _ in range(height + 1 - len(self.levels)))
            self.levels[height].add(x)

    def search(self) -> Search:
        """For ever."""
        while True:
            x = self.rng.random(self.n) < 0.5
            (fitness,) = yield x[None]
            fitness = yield from climb(x, fitness, self.rng)
            self.add(x, 0)
            height = 0
            while height < len(self.levels):
                mixed = x.copy()
                reached = yield from mix(mixed, fitness, self.levels[height], self.rng)
                if reached > fitness:
                    x, fitness = mixed, reached
                    self.add(x, height + 1)
                height += 1
