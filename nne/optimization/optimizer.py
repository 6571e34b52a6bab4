"""The best genotype for a fitness of which nothing is known: two searches side by side, and a budget of evaluations.

optimizer = Optimizer(genes=100)
while optimizer.evaluations < 20_000:
    optimizer.tell(fitness_of(optimizer.ask()))
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nne.evolution import Individual
from nne.given import as_numbers
from nne.identity import must_belong, written
from nne.optimization.breeding import breeding
from nne.optimization.pyramid import Numbers, Pyramid, Search
from nne.training.errors import UserError, require, whole
from nne.training.learner import State
from nne.training.seeding import key

LEADER = 0.85  # the share of evaluations that the better of the two searches has
PAIRS = 2000  # genes of which all pairs are counted; the pyramid is left out where there are more


class AskTell(Protocol):
    """What can be told to look for the best."""

    minimise: bool

    def ask(self) -> Tensor:
        """Genotypes ``[B, n]`` bool."""

    def tell(self, fitness: ArrayLike | Tensor) -> Any:
        """Their fitness, ``[B]``."""

    def stop(self) -> str | None:
        """Why there is no use in going on, if there is none."""


@dataclass(frozen=True)
class Result:
    """What ``run`` found.

    Attributes:
        x: ``[n]`` bool, the best of all genotypes.
        fitness: of it.
        evaluations: how many there were.
        reason: why it ended: ``budget``, ``target``, ``callback``, or what ``stop()`` said.
        history: after how many evaluations there was a new best, and its fitness.
    """

    x: Tensor
    fitness: float
    evaluations: int
    reason: str
    history: list[tuple[int, float]] = field(repr=False)


def checked(fitness: ArrayLike | Tensor, N: int, minimise: bool = False) -> Numbers:
    """``[N]`` float64, more is better; ``-inf`` for what is not feasible.

    Raises:
        UserError: it is not ``N`` numbers, or some are none or without bounds.
    """
    on_cpu = torch.empty(0, dtype=torch.float64)
    told = as_numbers(fitness, on_cpu, f"fitness must be {N} numbers").detach().numpy().copy()
    require(told.shape == (N,), f"fitness must be of shape [{N}], got {list(told.shape)}")
    told = -told if minimise else told
    wrong = np.isnan(told) | (told == np.inf)
    if wrong.any():
        worst = "inf" if minimise else "-inf"
        found = -told[wrong][0] if minimise else told[wrong][0]
        raise UserError(f"fitness must be numbers, or {worst} for what is not feasible; got {found}")
    return told


class Optimizer:
    """Asks for genotypes, and is told how fit they are.

    A pyramid of local optima (nne/optimization/pyramid.py) and a population that breeds (nne/optimization/breeding.py)
    search side by side. The one that has found the better genotype has most of the evaluations: the first learns which
    genes belong together, the second walks over rugged ground that single flips do not cross.

    Args:
        genes: ``n``.
        seed: same seed, and same fitness told: same genotypes.
        minimise: whether less is better.

    Attributes:
        best: the best individual told so far.
        evaluations: how many have been told.
    """

    def __init__(self, genes: int, *, seed: int = 0, minimise: bool = False) -> None:
        whole("genes", genes, 1)
        self.genes = genes
        self.seed = seed
        self.minimise = minimise
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        streams = {kind: np.random.default_rng(key(self.seed, kind)) for kind in ("pyramid", "breeding")}
        self.pyramid = Pyramid(self.genes, streams["pyramid"])
        self.searches: list[Search] = [breeding(self.genes, streams["breeding"])]
        if self.genes <= PAIRS:
            self.searches.append(self.pyramid.search())
        self.asked = [next(search) for search in self.searches]
        self.used, self.improved = [0] * len(self.searches), [0] * len(self.searches)
        self.reached = [-np.inf] * len(self.searches)
        self.told: list[Numbers] = []
        self.best = Individual(torch.zeros(self.genes, dtype=torch.bool), np.inf if self.minimise else -np.inf)
        self.waiting = False

    @property
    def evaluations(self) -> int:
        """How many have been told."""
        return sum(self.used)

    @property
    def turn(self) -> int:
        """Which search is to go on: the leader, unless the other has had less than its share.

        The pyramid climbs to its first local optimum before there is a leader.
        """
        if not self.pyramid.levels:
            return len(self.searches) - 1
        leader = int(np.argmax(self.reached))
        other = len(self.searches) - 1 - leader
        stuck = self.used[leader] > 2 * self.improved[leader]
        share = 1 / 2 if stuck else 1 - LEADER
        return other if self.used[other] < share * (self.evaluations + 1) else leader

    def ask(self) -> Tensor:
        """Genotypes to evaluate, ``[B, n]`` bool: the same until their fitness is told."""
        self.waiting = True
        return torch.from_numpy(self.asked[self.turn].copy())

    def tell(self, fitness: ArrayLike | Tensor) -> None:
        """The fitness of what was asked for, ``[B]``.

        Raises:
            UserError: it is not ``B`` numbers, or nothing was asked for.
        """
        require(self.waiting, "ask for genotypes before you tell their fitness")
        turn = self.turn
        x = self.asked[turn]
        told = checked(fitness, len(x), self.minimise)
        self.waiting = False
        self.told.append(told)
        self.used[turn] += len(x)
        fittest = int(told.argmax())
        if told[fittest] > self.reached[turn]:
            self.reached[turn], self.improved[turn] = float(told[fittest]), self.used[turn]
            better = self.reached[turn] > (-self.best.fitness if self.minimise else self.best.fitness)
            if better:
                signed = -self.reached[turn] if self.minimise else self.reached[turn]
                self.best = Individual(torch.from_numpy(x[fittest].copy()), signed)
        self.asked[turn] = self.searches[turn].send(told)

    def stop(self) -> str | None:
        """Never: it goes on with new genotypes for as long as it is asked."""
        return None

    def state_dict(self) -> State:
        """All fitness that was told: with it, everything can be gone through again without an evaluation."""
        told = torch.from_numpy(np.concatenate([np.empty(0), *self.told]))
        return {"told": told, "belongs_to": written(self.identity)}

    @property
    def identity(self) -> str:
        """What a state belongs to."""
        return f"genes={self.genes} seed={self.seed} minimise={self.minimise}"

    def load_state_dict(self, state: State) -> None:
        """Go on from where ``state_dict`` was called.

        Raises:
            UserError: the state is of other genes, another seed or another direction.
        """
        must_belong(state, self.identity, "optimizer")
        self.restart()
        told = state["told"]
        while len(told):
            size = len(self.ask())
            self.tell(-told[:size] if self.minimise else told[:size])
            told = told[size:]


def run(
    search: AskTell,
    f: Callable[[Tensor], ArrayLike | Tensor],
    budget: int,
    target: float | None = None,
    callback: Callable[[Result], object] | None = None,
) -> Result:
    """Ask, evaluate and tell until the budget is spent.

    Args:
        search: an ``Optimizer``, an ``Evolution``, or anything with their ``ask``, ``tell`` and ``stop``.
        f: the fitness of genotypes ``[B, n]`` bool: ``[B]`` numbers, a tensor, an array or a list.
        budget: evaluations; there are never more.
        target: fitness that is good enough.
        callback: is called with the result so far at each new best; if it returns something true, that is the end.

    Raises:
        UserError: a budget below 1, or fitness that is wrong.
    """
    whole("budget", budget, 1)
    x, best, spent = torch.empty(0), -np.inf, 0
    history: list[tuple[int, float]] = []
    while True:
        asked = search.ask()
        shown = asked[: budget - spent]
        fitness = f(shown)
        told = checked(fitness, len(shown), search.minimise)
        fittest = int(told.argmax())
        reason = None
        if told[fittest] > best or not history:
            x, best = shown[fittest].clone(), float(told[fittest])
            history.append((spent + fittest + 1, -best if search.minimise else best))
            so_far = Result(x, history[-1][1], spent + len(shown), "", history)
            if callback and callback(so_far):
                reason = "callback"
        spent += len(shown)
        if target is not None and best >= (-target if search.minimise else target):
            reason = "target"
        if not reason and len(shown) == len(asked):
            search.tell(fitness)
            reason = search.stop()
        if reason or spent >= budget:
            return Result(x, history[-1][1], spent, reason or "budget", history)


def optimize(
    f: Callable[[Tensor], ArrayLike | Tensor],
    genes: int,
    budget: int,
    *,
    seed: int = 0,
    minimise: bool = False,
    target: float | None = None,
    callback: Callable[[Result], object] | None = None,
) -> Result:
    """The best genotype that an ``Optimizer`` finds in so many evaluations; arguments as for it and for ``run``."""
    return run(Optimizer(genes, seed=seed, minimise=minimise), f, budget, target, callback)
