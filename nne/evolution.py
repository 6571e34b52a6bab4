"""Evolution of allele frequencies, for any fitness: ask for a generation, tell how fit each individual was (Sec. 2).

evolution = Evolution(genes=100, population=500)
for _ in range(100):
    x = evolution.ask()              # [500, 100] bool
    evolution.tell(fitness_of(x))    # [500], more is better
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nne.fitness import STATIC, Transform, chosen_transform
from nne.genome import draw, fixed_fraction, heterozygosity, initial_frequencies
from nne.given import as_numbers, feasible, frequencies
from nne.identity import must_belong, written
from nne.parts import parts_of
from nne.response import response
from nne.selection import Execution, Move, Sample, chosen_rule
from nne.training.errors import require, whole, within
from nne.training.graph import Recorded
from nne.training.learner import Metrics, State
from nne.training.plugin import name_of

FIGURES = (
    *("fitness/mean", "fitness/sd", "fitness/best", "fittest"),
    *("selection/heritability", "selection/signal_to_noise", "response/predicted", "response/realised"),
    *("population/heterozygosity", "population/fixed"),
)
SIGNED = ("fitness/mean", "fitness/best", "response/predicted", "response/realised")
LARGEST = 1e150  # of fitness: its squares must be numbers, too
REFOLD = 0.95  # alleles are frozen once they leave no more than this share of the free ones


class Individual(NamedTuple):
    """A genotype ``x: [n]`` bool, and the fitness that was told of it."""

    x: Tensor
    fitness: float


class Evolution:
    """Allele frequencies ``p: [n]`` that evolve because some genotypes are fitter than others.

    Args:
        genes: ``n``.
        population: ``N``, individuals in a generation.
        epsilon: strength of selection; ``tell`` accepts another for one generation.
        selection: a name in ``nne.selection.RULES``, or a rule of your own; the default is eq. (3).
        fitness: a name in ``nne.fitness.TRANSFORMS``, or a function of your own: what is done to the figures told.
        freeze: alleles within so much of 0 or 1 are taken to be fixed, and no longer drawn; None: never.
        p0: ``p`` at first, one number or ``[n]``; None: uniform in [0, 1], as in Sec. 3.1.
        border: the rate of mutation, from either allele to the other: ``p`` stays so far from 0 and from 1, and no
            allele is lost for ever.
        minimise: whether less fitness is better.
        part: ``[n]``, for fitness by parts: which row of the fitness ``[K, N]`` that is told counts for each gene, in
            place of one for all. The first row is the individual's own: ``best`` and what is logged are by it.
        seed: same seed, same genotypes, whatever the device.
        execution: how ``tell`` goes through the genotypes again; no result depends on it.

    Attributes:
        p: ``[n]`` float64, the allele frequencies.
        generation: how many generations have been told.
        best: the fittest individual told so far, of fitness -inf before the first ``tell``. Where each generation sees
            other images, it is the luckiest rather than the best.

    Raises:
        UserError: an argument out of its bounds.
    """

    def __init__(
        self,
        genes: int,
        population: int = 1000,
        *,
        epsilon: float = 1.0,
        selection: str | Move = "population_genetics",
        fitness: str | Transform = "standardise",
        freeze: float | None = None,
        p0: float | ArrayLike | Tensor | None = None,
        border: float = 0.0,
        minimise: bool = False,
        part: ArrayLike | Tensor | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        execution: Execution | None = None,
    ) -> None:
        whole("genes", genes, 1)
        whole("population", population, 2)
        within("epsilon", epsilon, 0, float("inf"))
        require(freeze is None or 0 <= freeze < 0.5, f"freeze must be from 0 to below 0.5, got {freeze}")
        check_border(border)
        require(not (border and freeze), f"border={border} lets no allele be fixed: leave out freeze={freeze}")
        self.execution = execution or Execution()
        self.N = population
        self.epsilon = epsilon
        self.margin = freeze
        self.border = border
        self.minimise = minimise
        self.seed = seed
        self.selection = name_of(selection)
        self.fitness = name_of(fitness)
        self.rule = chosen_rule(selection)
        self.transform = chosen_transform(fitness)
        alone = part is not None and not self.rule.by_means
        require(not alone, f"fitness by parts is not for selection={self.selection}, which knows one fitness")
        self.parts = self.free_parts = None if part is None else parts_of(part, genes, device)
        self.generation = 0
        self.p = (initial_frequencies(genes, seed) if p0 is None else frequencies(p0, genes)).to(device)
        self.free = torch.arange(genes, device=device)
        self.memory = self.p.new_zeros(self.rule.remembers, genes)
        self.best = Individual(torch.zeros_like(self.p, dtype=torch.bool), float("inf" if minimise else "-inf"))
        self.predicted = self.first = 0.0
        self.asked = False
        self.recorded = Recorded(lambda p, m, delta, epsilon, x: self.select(p, m, delta, epsilon, lambda _: [x]))
        # The tile last drawn: of which p and generation, which individuals, and x.
        self.drawn = torch.empty(0), 0, range(0), torch.empty(0)

    def ask(self, individuals: range | None = None) -> Tensor:
        """This generation's genotypes, or those of some individuals: ``x: [N, n]`` bool, the same however often."""
        self.asked = True
        return draw(self.p, self.seed, self.generation, range(self.N) if individuals is None else individuals)

    def ask_free(self, individuals: range) -> Tensor:
        """The same at the genes that are not frozen, ``[len(individuals), len(free)]``."""
        self.asked = True
        p, generation, drawn, x = self.drawn
        if p is not self.p or generation != self.generation or drawn != individuals:
            x = draw(self.p[self.free], self.seed, self.generation, individuals, genes=self.free)
            self.drawn = self.p, self.generation, individuals, x
        return x

    def tell(self, fitness: ArrayLike | Tensor, epsilon: float | None = None, border: float | None = None) -> Metrics:
        """Select: the fitness of this generation's individuals moves ``p``.

        Args:
            fitness: ``[N]`` numbers (``[K, N]``, if it is by parts), more is better: a tensor, an array or a list;
                ``-inf`` where it is not feasible, which counts as being as far below the worst feasible one as that is
                below the mean.
            epsilon, border: strength of selection and rate of mutation in this generation, if others than usual.

        Returns:
            Figures to log.

        Raises:
            UserError: fitness that is not ``N`` numbers of at most 10^150 in size, or nobody has asked for the
                generation that it is of; nothing has changed then.
        """
        ready = self.asked or self.execution.workers.count > 1  # of several workers, one may have nobody to ask for
        require(ready, f"ask for generation {self.generation} before you tell its fitness")
        delta = as_numbers(fitness, self.p)
        shape = (self.N,) if self.parts is None else (len(self.parts.sizes), self.N)
        require(delta.shape == shape, f"fitness must be of shape {list(shape)}, got {list(delta.shape)}")
        delta = -delta if self.minimise else delta
        if delta.is_cuda or bool(torch.isneginf(delta).any()):
            delta = feasible(delta)
        epsilon = self.epsilon if epsilon is None else epsilon
        within("epsilon", epsilon, 0, float("inf"))
        check_border(border or 0.0)
        drawn_from, before, memory = self.p, self.p[self.free], self.memory[:, self.free]
        if self.replays and border is None:
            x, strength = self.ask_free(range(self.N)), torch.full_like(delta[0], epsilon)
            after, memory, selected = self.recorded(before, memory, delta, strength, x)
        else:
            after, memory, selected = self.select(before, memory, delta, epsilon, self.tiles, border)
        p, memory = self.p.index_copy(0, self.free, after), self.memory.index_copy(1, self.free, memory)
        told = self.told(p, delta, selected).tolist()  # here a GPU is waited for

        def fittest(individual: int) -> Tensor:
            return draw(drawn_from, self.seed, self.generation, range(individual, individual + 1))[0]

        return self.go_on(p, memory, told, epsilon, fittest)

    def stop(self) -> str | None:
        """Why there is no use in going on, if there is none: everybody is alike, and will be."""
        fixed = bool(((self.p == 0) | (self.p == 1)).all())
        return "all alleles are fixed" if fixed and not self.border else None

    def told(self, p: Tensor, delta: Tensor, selected: Tensor) -> Tensor:
        """The figures of ``FIGURES``, and whether the fitness was right, and what was made of it."""
        right = (delta.abs() <= LARGEST).all(dim=-1)
        right = right if self.parts is None else right.all()
        frequencies = ((p >= 0) & (p <= 1)).all(dim=-1)
        checks = right.double(), frequencies.double()
        return torch.cat([selected, torch.stack([heterozygosity(p), fixed_fraction(p), *checks])])

    def go_on(
        self, p: Tensor, memory: Tensor, told: list[float], epsilon: float, fittest: Callable[[int], Tensor]
    ) -> Metrics:
        """To the next generation, of allele frequencies ``p``; ``fittest`` gives the genotype of an individual.

        Raises:
            UserError: the fitness was not ``N`` numbers of at most 10^150 in size, or a rule of one's own made of it no
                allele frequencies.
        """
        *figures, right, made = told
        require(bool(right), f"fitness must be finite numbers of at most {LARGEST:.0e} in size")
        require(bool(made), f"{self.rules} gave allele frequencies that are not all numbers from 0 to 1")
        metrics = dict(zip(FIGURES, figures, strict=True))
        self.p = p
        self.memory = memory
        self.asked = False
        if self.margin is not None:
            self.freeze(self.margin)
        individual, fitness = int(metrics.pop("fittest")), metrics["fitness/best"]
        if self.minimise:
            metrics |= {name: -metrics[name] for name in SIGNED}
        if fitness > (-self.best.fitness if self.minimise else self.best.fitness):
            self.best = Individual(fittest(individual), metrics["fitness/best"])
        self.predicted, metrics["response/predicted"] = self.predicted + metrics["response/predicted"], self.predicted
        if self.generation == 0:
            self.first = metrics["response/realised"]
        metrics["response/realised"] -= self.first
        self.generation += 1
        free = len(self.free) / len(self.p)
        return {**metrics, "population/free": free, "selection/epsilon": epsilon}

    def select(
        self,
        p: Tensor,
        memory: Tensor,
        delta: Tensor,
        epsilon: Any,
        genotypes: Callable[[range], Iterable[Tensor]],
        border: float | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One generation's selection on the free genes, a function of tensors alone.

        Returns:
            ``p`` of the next generation, what the rule remembers, and the figures of ``FIGURES`` but for the last two.
        """
        sample = Sample(self.transform(delta), genotypes, self.execution, self.free_parts)
        moved = self.rule.move(p, sample, epsilon, memory)
        shapes = list(sample.fitness.shape), list(moved.shape)
        right = sample.fitness.shape == delta.shape and moved.shape == p.shape
        require(right, f"{self.rules} must give fitness {list(delta.shape)} and p {list(p.shape)}, gave {shapes}")
        after = torch.where(sample.means.polymorphic, moved, p)
        mutation = self.border if border is None else border
        after = after + mutation * (1 - 2 * after) if mutation else after
        own = delta if self.parts is None else delta[0]
        fitness = own.mean(dim=-1), own.std(dim=-1), own.amax(dim=-1), own.argmax(dim=-1).double()
        achieved = response(after - p, sample.means, sample.fitness, delta, sample.parts)
        return after, memory, torch.stack([*fitness, *achieved])

    @property
    def rules(self) -> str:
        """What makes ``p`` of the fitness, for messages."""
        return f"selection={self.selection} after fitness={self.fitness}"

    @property
    def replays(self) -> bool:
        """Whether selection launches the same kernels in every generation, so that a GPU can replay them."""
        whole = (
            self.margin is None
            and self.parts is None
            and self.execution.tile >= self.N
            and self.execution.workers.count == 1
        )
        return self.p.is_cuda and whole and self.rule.static and self.transform in STATIC

    def tiles(self, individuals: range) -> Iterator[Tensor]:
        """Some individuals at their free genes, in order; of none, one tile of no individuals."""
        for start in range(individuals.start, individuals.stop, self.execution.tile) or (individuals.start,):
            yield self.ask_free(range(start, min(start + self.execution.tile, individuals.stop)))

    def freeze(self, margin: float) -> None:
        """Fix the free alleles within ``margin`` of 0 or 1, if they are enough to be worth it."""
        p = self.p[self.free]
        varies = torch.minimum(p, 1 - p) > margin
        if int(varies.sum()) <= REFOLD * len(p):
            self.p = self.p.index_copy(0, self.free, torch.where(varies, p, p.round()))
            self.keep(self.free[varies])

    def keep(self, free: Tensor) -> None:
        """From now on, no other genes than these are drawn."""
        self.free = free
        self.free_parts = self.parts and self.parts.among(free)

    def state_dict(self) -> State:
        """All that changes. There is no random state: draws depend on seed and generation alone."""
        return {
            "p": self.p,
            "generation": torch.tensor(self.generation),
            "free": torch.zeros_like(self.p, dtype=torch.bool).index_fill(0, self.free, True),
            "memory": self.memory,
            "response": torch.tensor([self.predicted, self.first], dtype=torch.float64),
            "best": self.best.x,
            "best_fitness": torch.tensor(self.best.fitness, dtype=torch.float64),
            "belongs_to": written(self.identity),
        }

    @property
    def identity(self) -> str:
        """What a state belongs to: with any other the same genes would go another way."""
        settings = f"selection={self.selection} fitness={self.fitness} population={self.N}"
        settings += f" border={self.border}" * bool(self.border) + " minimise" * self.minimise
        return f"{settings} seed={self.seed}"

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved generation.

        Raises:
            UserError: the state is of another number of genes, or of an evolution with other settings.
        """
        current = self.state_dict()
        must_belong(state, self.identity, "evolution")
        fits = current.keys() <= state.keys() and all(current[k].shape == state[k].shape for k in current)
        require(fits, f"the checkpoint does not hold {len(self.p)} allele frequencies: it is from another kind of run")
        self.p = state["p"].to(self.p.device)
        self.memory = state["memory"].to(self.p.device)
        self.keep(state["free"].to(self.p.device).nonzero()[:, 0])
        self.generation = int(state["generation"])
        self.predicted, self.first = state["response"].tolist()
        self.best = Individual(state["best"].to(self.p.device), float(state["best_fitness"]))


def check_border(border: float) -> None:
    """Raise unless ``p`` can stay so far from 0 and from 1."""
    require(0 <= border < 0.5, f"border must be from 0 to below 0.5, got {border}")
