"""Selection: how allele frequencies move from one generation to the next. Eq. (3), and what else is known to move them.

Every rule has the same form, ``rule(p, sample, epsilon, memory) -> p``. In the limit of weak selection eq. (3) on
standardised fitness ``z`` is ``p + epsilon cov(x, z)``, and so the rules share the scale of ``epsilon``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from nne.fitness import AlleleMeans, allele_means, carrier_sums, exact_sum, root, round_for_exact_sum
from nne.parts import Parts, means_by_part, sums_by_part
from nne.training import plugin
from nne.training.device import require_memory
from nne.training.distributed import SINGLE_PROCESS, Workers
from nne.training.errors import at_least, require

BEST = 0.1  # the share of a population that PBIL learns from
MOMENTUM, ADAM = 0.9, (0.9, 0.999)  # decay of what is remembered, per generation
HERITABILITY = 0.5  # of fitness, as ridge regression supposes it


@dataclass(frozen=True)
class Execution:
    """How a population is gone through. No result depends on it.

    Args:
        tile: how many genotypes exist at once.
        workers: the processes that share the individuals.
        block: each worker takes whole blocks of so many individuals.
    """

    tile: int = 64
    workers: Workers = SINGLE_PROCESS
    block: int = 1

    def __post_init__(self) -> None:
        at_least("tile", self.tile, 1)
        at_least("block", self.block, 1)


@dataclass(frozen=True)
class Sample:
    """What selection knows of a generation.

    Args:
        fitness: ``[N]``.
        genotypes: gives some individuals in order, in tiles ``x: [tile, n]``.
        execution: what adds up over them, in this process or in several.
        parts: which row of ``fitness: [K, N]`` counts for each allele, if there are several.
    """

    fitness: Tensor
    genotypes: Callable[[range], Iterable[Tensor]]
    execution: Execution = field(default_factory=Execution)
    parts: Parts | None = None

    @cached_property
    def means(self) -> AlleleMeans:
        """``f`` and ``f_bar`` of every allele."""
        if self.parts is not None:
            return means_by_part(self.fitness, self.parts, self.sums_by_part)
        return allele_means(self.fitness, self.sums)

    def sums(self, rows: Tensor) -> Tensor:
        """Sums over the carriers of each allele, ``[k, n]``, of ``rows: [k, N]`` that are ``round_for_exact_sum``."""
        execution = self.execution
        shard = execution.workers.shard(self.fitness.shape[-1], execution.block)
        sums = carrier_sums(self.genotypes(shard), rows[..., shard.start : shard.stop])
        return execution.workers.all_reduce(sums)

    def sums_by_part(self, rows: Tensor, parts: Parts) -> Tensor:
        """The same of each allele's own row, and how many its carriers are: ``[2, n]``."""
        execution = self.execution
        shard = execution.workers.shard(rows.shape[1], execution.block)
        sums = sums_by_part(self.genotypes(shard), rows[:, shard.start : shard.stop], parts)
        return execution.workers.all_reduce(sums)

    def pull(self, utility: Tensor, p: Tensor) -> Tensor:
        """``1/N sum_x u_x (x - p): [n]``, where a step goes that likes the individuals by ``utility: [N]``."""
        sums = self.sums(round_for_exact_sum(utility[..., None, :]))[..., 0, :]
        step: Tensor = (sums - exact_sum(utility)[..., None] * p) / utility.shape[-1]
        return step


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


def population_genetics(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """Eq. (3)."""
    return weak_selection(p, sample.means.f, sample.means.f_bar, epsilon)


def hedge(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """Multiplicative weights in their exponential form (Hedge; Chastain et al. 2014), ``p' = p exp(epsilon f)``.

    Each gene plays against its two alleles. In the limit of weak selection this is eq. (3).
    """
    return torch.sigmoid(p.logit() + epsilon * (sample.means.f - sample.means.f_bar))


def pbil(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """Population-based incremental learning (Baluja 1994): towards the mean of the best tenth, at rate ``epsilon``."""
    N = sample.fitness.shape[-1]
    best = max(round(BEST * N), 1)
    order = sample.fitness.argsort(dim=-1, descending=True, stable=True)
    chosen = torch.zeros_like(sample.fitness).scatter(-1, order[..., :best], N / best)
    return (p + min(epsilon, 1.0) * sample.pull(chosen, p)).clamp(0, 1)


def compact_ga(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """The compact genetic algorithm (Harik, Lobo and Goldberg 1999).

    Individuals compete in pairs; where the two differ, ``p`` moves by one in a virtual population of ``N / epsilon``
    towards the winner.
    """
    paired = sample.fitness.shape[-1] // 2 * 2
    first, second = (sample.fitness[..., i:paired:2] for i in (0, 1))
    won = torch.sign(first - second)
    utility = torch.zeros_like(sample.fitness)
    utility[..., :paired] = torch.stack([won, -won], dim=-1).flatten(-2)
    return (p + epsilon * sample.pull(utility, p)).clamp(0, 1)


def igo(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """Information-geometric optimisation (Ollivier et al. 2017): the natural gradient of utilities that depend on
    ranks alone, here falling with the logarithm of the rank to zero at the middle, as those of CMA-ES."""
    N = sample.fitness.shape[-1]
    place = (-sample.fitness).argsort(dim=-1, stable=True).argsort(dim=-1, stable=True) + 1
    logarithms = torch.arange(1.0, N + 1, dtype=torch.float64, device=p.device).log()
    utility = (torch.log(torch.tensor(N / 2 + 1)) - logarithms[place - 1]).clamp(min=0)
    utility = utility - (exact_sum(utility) / N)[..., None]
    return (p + epsilon * sample.pull(utility / root(exact_sum(utility.square()) / N)[..., None], p)).clamp(0, 1)


def momentum(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """Eq. (3) for weak selection, which moves ``p`` by ``epsilon p (1 - p) (f - f_bar)``, on a running mean of that
    (Polyak 1964). A mean of ``f - f_bar`` alone would be noise where an allele is rare."""
    (mean,) = memory
    mean.mul_(MOMENTUM).add_((1 - MOMENTUM) * p * (1 - p) * (sample.means.f - sample.means.f_bar))
    moved: Tensor = p + epsilon * mean
    return moved.clamp(0, 1)


def adam(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """Adam (Kingma and Ba 2015) on ``logit p``, where mean fitness has the gradient ``p (1 - p) (f - f_bar)``."""
    mean, square, age = memory
    gradient = p * (1 - p) * (sample.means.f - sample.means.f_bar)
    age.add_(1)
    for memorised, now, decay in ((mean, gradient, ADAM[0]), (square, gradient.square(), ADAM[1])):
        memorised.mul_(decay).add_((1 - decay) * now)
    step = mean / (1 - ADAM[0] ** age) / ((square / (1 - ADAM[1] ** age)).sqrt() + 1e-8)
    return torch.sigmoid(p.logit() + epsilon * step)


def ridge(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """Eq. (3) along effects of all alleles estimated jointly: ridge regression of fitness on genotypes, which is the
    genomic prediction of breeders (Meuwissen, Hayes and Goddard 2001).

    By itself each ``f - f_bar`` holds the chance effects of all other alleles too. With ``Z = x - p`` and
    ``G = Z Z^T``, the joint estimate is ``Z^T u`` with ``(G + lambda) u = z``. Steps are as long as those of eq. (3).
    """
    N, n = len(sample.fitness), len(p)
    require_memory(4 * N * n + 4 * 8 * N * N, p.device, "population", N)
    Z = torch.cat([x.float() - p.float() for x in sample.genotypes(range(len(sample.fitness)))])
    G = (Z @ Z.T).double()
    penalty = G.diagonal().mean().clamp(min=1e-9) * (1 - HERITABILITY) / HERITABILITY
    regular = G + penalty * torch.eye(len(G), dtype=G.dtype, device=G.device)
    u, _ = torch.linalg.solve_ex(regular, sample.fitness)  # which, unlike solve, does not have a GPU waited for
    effects, marginal = sample.pull(u, p), sample.means.f - sample.means.f_bar
    length = (p * (1 - p) * torch.stack([marginal, effects]).square()).sum(dim=1).sqrt()
    effects = effects * torch.where(length[1] > 0, length[0] / length[1], 0.0)
    return weak_selection(p, (1 - p) * effects, -p * effects, epsilon)


Move = Callable[[Tensor, Sample, float, Tensor], Tensor]
"""``rule(p, sample, epsilon, memory) -> p``."""


class Rule(NamedTuple):
    """How ``p`` moves, and how many numbers a gene it remembers from generation to generation.

    ``static``: it computes in the same way whatever the numbers are (``nne.training.graph``). ``batched``: it moves
    ``K`` islands at once, ``p: [K, n]``. ``by_means``: of the sample it knows ``means`` alone, so that each allele may
    have a fitness of its own.
    """

    move: Move
    remembers: int = 0
    static: bool = False
    batched: bool = False
    by_means: bool = False


def chosen_rule(choice: "str | Move") -> Rule:
    """A rule by its name in ``RULES``, by its dotted path, or itself, checked on five genes.

    A function ``f`` of one's own remembers ``f.remembers`` numbers a gene; none, if it has no such attribute.

    Raises:
        UserError: there is no such rule, or it does not give allele frequencies.
    """

    def probe(move: Move) -> None:
        p = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
        x = torch.arange(20).view(4, 5) % 3 > 0
        sample = Sample(
            torch.tensor([-1.0, 0.0, 0.5, 0.5], dtype=torch.float64),
            lambda individuals: [x[individuals.start : individuals.stop]],
        )
        moved = move(p, sample, 1.0, torch.zeros(getattr(move, "remembers", 0), 5, dtype=torch.float64))
        right = isinstance(moved, Tensor) and moved.shape == p.shape and bool(((moved >= 0) & (moved <= 1)).all())
        require(right, f"it gave {moved}, not five numbers from 0 to 1")

    expected = "a function rule(p, sample, epsilon, memory) -> p (nne/selection.py)"
    rule = plugin.chosen("selection", choice, RULES, expected, probe)
    return rule if isinstance(rule, Rule) else Rule(rule, getattr(rule, "remembers", 0))


RULES: dict[str, Rule] = {
    "population_genetics": Rule(population_genetics, static=True, batched=True, by_means=True),
    "pbil": Rule(pbil, batched=True),
    "compact_ga": Rule(compact_ga, batched=True),
    "igo": Rule(igo, batched=True),
    "momentum": Rule(momentum, remembers=1, static=True, batched=True, by_means=True),
    "adam": Rule(adam, remembers=3, static=True, by_means=True),
    "ridge": Rule(ridge),
    "hedge": Rule(hedge, static=True, by_means=True),
}
