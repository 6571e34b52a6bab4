"""Real populations: genomes that pass from parents to children, where eq. (3) draws everybody anew from ``p``.

The Wright-Fisher model with selection, recombination and mutation, asked and told as ``nne.Evolution``:

population = WrightFisher(genes=100, population=500, recombination=0.5)
for _ in range(100):
    population.tell(fitness_of(population.ask()))

A generation is replaced by as many children. An individual is chosen to be a parent with a probability in proportion to
``1 + epsilon z``, with ``z`` its fitness as eq. (3) has it, so that the expected allele frequencies after selection are
those of eq. (3); what differs is what alleles are found together with. A child of haploid parents is a recombination of
the two; one of diploids has a gamete of each, a recombination of the parent's two strands. Between any two genes of
unlinked ("free") genomes there is a recombination with probability ``r``, between neighbours of "linear" ones.
"""

from collections.abc import Iterator

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nne.evolution import LARGEST, Individual
from nne.fitness import Transform, chosen_transform
from nne.genome import draw, fixed_fraction, heterozygosity, initial_frequencies
from nne.given import as_numbers, feasible, frequencies
from nne.identity import must_belong, written
from nne.training.errors import one_of, require, whole, within
from nne.training.learner import Metrics, State
from nne.training.plugin import name_of
from nne.training.seeding import generator

BLOCK = 2**22  # alleles of which children are made at once
PAIRS = 500  # of genes, whose linkage disequilibrium is measured
LINKAGES, SELECTIONS = ["free", "linear"], ["proportional", "truncation"]


class WrightFisher:
    """``N`` individuals, whose genomes their children inherit.

    Args:
        genes, population: ``n`` and ``N``.
        recombination: ``r``, from 0 (clones) to 1/2 (independent inheritance).
        linkage: ``free`` or ``linear``.
        mutation: with what probability an allele of a child is the other one.
        selection: ``proportional`` to ``1 + epsilon z``, or ``truncation``: the fittest are parents alike.
        epsilon: strength of proportional selection.
        share: of the population that truncation lets be parents.
        fitness: from the fitness told to ``z``: a name in ``nne.fitness.TRANSFORMS``, or a function of your own.
        ploidy: 1 or 2.
        dominance: with what probability a diploid individual with both alleles of a gene expresses a 1.
        p0: allele frequencies at first, one number or ``[n]``; None: uniform, as in Sec. 3.1.
        minimise: whether less fitness is better.
        seed: same seed, same genomes.

    Attributes:
        genomes: ``[N, ploidy, n]`` bool.
        generation: how many have been told.
        best: the fittest individual told so far.

    Raises:
        UserError: an argument out of its bounds.
    """

    def __init__(
        self,
        genes: int,
        population: int = 1000,
        *,
        recombination: float = 0.5,
        linkage: str = "free",
        mutation: float = 0.0,
        selection: str = "proportional",
        epsilon: float = 1.0,
        share: float = 0.5,
        fitness: str | Transform = "standardise",
        ploidy: int = 1,
        dominance: float = 0.5,
        p0: float | ArrayLike | Tensor | None = None,
        minimise: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        whole("genes", genes, 1)
        whole("population", population, 2)
        for name, value, most in (
            ("recombination", recombination, 0.5),
            ("mutation", mutation, 1),
            ("dominance", dominance, 1),
        ):
            require(0 <= value <= most, f"{name} must be from 0 to {most}, got {value}")
        one_of("linkage", linkage, LINKAGES)
        one_of("selection", selection, SELECTIONS)
        within("epsilon", epsilon, 0, float("inf"))
        within("share", share, 0, 1)
        require(ploidy in (1, 2), f"ploidy must be 1 or 2, got {ploidy}")
        self.n, self.N = genes, population
        self.recombination, self.linkage = recombination, linkage
        self.mutation = mutation
        self.selection, self.epsilon, self.share = selection, epsilon, share
        self.fitness, self.transform = name_of(fitness), chosen_transform(fitness)
        self.dominance = dominance
        self.minimise = minimise
        self.seed = seed
        self.generation = 0
        p = (initial_frequencies(genes, seed) if p0 is None else frequencies(p0, genes)).to(device)
        self.genomes = draw(p, seed, 0, range(population * ploidy)).view(population, ploidy, genes)
        self.best = Individual(torch.zeros(genes, dtype=torch.bool), float("inf" if minimise else "-inf"))
        self.asked = False

    @property
    def p(self) -> Tensor:
        """``[n]`` float64, the allele frequencies of those who live."""
        return self.genomes.flatten(0, 1).sum(dim=0).double() / (self.N * self.genomes.shape[1])

    def ask(self) -> Tensor:
        """What the individuals express, ``x: [N, n]`` bool."""
        self.asked = True
        if self.genomes.shape[1] == 1:
            return self.genomes[:, 0].clone()
        either, both = self.genomes.any(dim=1), self.genomes.all(dim=1)
        if self.dominance in (0, 1):
            return either if self.dominance else both
        shape, stream = either.shape, generator(self.seed, "dominance", self.generation)
        return both | (either & (torch.rand(shape, generator=stream) < self.dominance).to(either.device))

    def tell(self, fitness: ArrayLike | Tensor) -> Metrics:
        """Their fitness, ``[N]``, more is better; ``-inf`` as for ``Evolution``. Then their children live.

        Returns:
            Figures to log, of the parents; ``population/linkage`` is the mean of ``r^2`` over ``PAIRS`` pairs of genes,
            which in linkage equilibrium is about ``1 / (ploidy N)``.

        Raises:
            UserError: fitness that is not ``N`` numbers of at most 10^150 in size, or that nobody asked for. Nothing
                has changed then.
        """
        require(self.asked, f"ask for generation {self.generation} before you tell its fitness")
        told = as_numbers(fitness, torch.empty(0, dtype=torch.float64, device=self.genomes.device))
        require(told.shape == (self.N,), f"fitness must be of shape [{self.N}], got {list(told.shape)}")
        delta = feasible(-told if self.minimise else told)
        right = bool((delta.abs() <= LARGEST).all())
        require(right, f"fitness must be finite numbers of at most {LARGEST:.0e} in size")
        fittest = int(delta.argmax())
        best = float(-delta[fittest] if self.minimise else delta[fittest])
        if best < self.best.fitness if self.minimise else best > self.best.fitness:
            self.best = Individual(self.ask()[fittest], best)
        p = self.p
        figures = {
            "fitness/mean": float(-delta.mean() if self.minimise else delta.mean()),
            "fitness/sd": float(delta.std()),
            "fitness/best": best,
            "population/heterozygosity": float(heterozygosity(p)),
            "population/fixed": float(fixed_fraction(p)),
            "population/linkage": self.linkage_disequilibrium(),
        }
        self.genomes = torch.cat(list(self.children(self.offspring(delta))))
        self.generation += 1
        self.asked = False
        return figures

    def stop(self) -> str | None:
        """Why there is no use in going on, if there is none."""
        alike = bool((self.genomes == self.genomes[:1, :1]).all())
        return "all alleles are fixed" if alike and not self.mutation else None

    def offspring(self, delta: Tensor) -> Tensor:
        """The expected share of children that each individual is a parent of, ``[N]``, given its fitness."""
        if self.selection == "truncation":
            chosen = delta.argsort(descending=True, stable=True)[: max(round(self.share * self.N), 1)]
            return torch.zeros_like(delta).index_fill(0, chosen, 1 / len(chosen))
        expected = (1 + self.epsilon * self.transform(delta)).clamp(min=0)
        total = expected.sum()
        return torch.where(total > 0, expected / total, 1 / self.N)

    def children(self, share: Tensor) -> Iterator[Tensor]:
        """The next generation, block by block, ``[block, ploidy, n]``."""
        stream = generator(self.seed, "inheritance", self.generation)
        parents = torch.multinomial(share.cpu(), 2 * self.N, replacement=True, generator=stream).view(self.N, 2)
        for block in parents.to(self.genomes.device).split(max(BLOCK // self.n, 1)):  # type: ignore[no-untyped-call]
            if self.genomes.shape[1] == 1:
                made = self.gametes(self.genomes[block, 0], stream)[:, None]
            else:
                made = torch.stack([self.gametes(self.genomes[each], stream) for each in block.T], dim=1)
            if self.mutation:
                made = made ^ (torch.rand(made.shape, generator=stream) < self.mutation).to(made.device)
            yield made

    def gametes(self, strands: Tensor, stream: torch.Generator) -> Tensor:
        """Recombinations ``[M, n]`` of two strands each, ``[M, 2, n]``."""
        M, _, n = strands.shape
        second = torch.rand(M, 1, generator=stream) < 0.5
        if self.recombination == 0.5:
            second = torch.rand(M, n, generator=stream) < 0.5
        elif self.recombination and self.linkage == "free":
            apart = (1 - (1 - 2 * self.recombination) ** 0.5) / 2  # r = 2 apart (1 - apart)
            second = second ^ (torch.rand(M, n, generator=stream) < apart)
        elif self.recombination:
            crossed = torch.rand(M, n, generator=stream) < self.recombination
            second = second ^ (crossed.cumsum(dim=1, dtype=torch.uint8) % 2 > 0)
        return torch.where(second.to(strands.device), strands[:, 1], strands[:, 0])

    def linkage_disequilibrium(self) -> float:
        """The mean of ``r^2 = D^2 / (p_i q_i p_j q_j)`` over pairs of genes of which neither is fixed."""
        pairs = torch.randint(self.n, (2, PAIRS), generator=generator(self.seed, "pairs")).to(self.genomes.device)
        first, second = (self.genomes.flatten(0, 1)[:, genes].double() for genes in pairs)
        p, q = first.mean(dim=0), second.mean(dim=0)
        varies = p * (1 - p) * q * (1 - q)
        counts = (varies > 0) & (pairs[0] != pairs[1])
        squared = ((first * second).mean(dim=0) - p * q).square() / varies
        return float(torch.where(counts, squared, 0.0).sum() / counts.sum().clamp(min=1))

    def state_dict(self) -> State:
        """All that changes."""
        return {
            "genomes": self.genomes,
            "generation": torch.tensor(self.generation),
            "best": self.best.x,
            "best_fitness": torch.tensor(self.best.fitness, dtype=torch.float64),
            "belongs_to": written(self.identity),
        }

    @property
    def identity(self) -> str:
        """What a state belongs to."""
        inheritance = ("recombination", "linkage", "mutation", "dominance")
        names = ("selection", "epsilon", "share", "fitness", "minimise", *inheritance, "seed")
        return " ".join(f"{name}={getattr(self, name)}" for name in names)

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved generation.

        Raises:
            UserError: the state is of another population, or of one with other settings.
        """
        must_belong(state, self.identity, "population")
        shape = self.genomes.shape
        fits = state.keys() == self.state_dict().keys() and state["genomes"].shape == shape
        require(fits, f"the checkpoint does not hold genomes {list(shape)}: it is of another population")
        device = self.genomes.device
        self.genomes, self.generation = state["genomes"].to(device), int(state["generation"])
        self.best = Individual(state["best"].to(device), float(state["best_fitness"]))
