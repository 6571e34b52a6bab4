"""Islands: many populations that evolve side by side in one tensor, and exchange migrants.

islands = Islands(64, genes=100, population=50, migration=0.01)
for _ in range(100):
    x = islands.ask()                # [64, 50, 100] bool
    islands.tell(fitness_of(x))      # [64, 50]

Without migration island ``k`` is ``Evolution(seed=seed + k)``, bit for bit. Migrants change the allele frequencies of
an island to ``(1 - m) p + m p'``, with ``p'`` those of where they come from: all other islands alike (Wright's island
model of 1931), or its two neighbours on a ring (the stepping stones of Kimura 1953).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nne.evolution import FIGURES, LARGEST, SIGNED, Evolution, Individual, check_border
from nne.genome import draw_keyed, initial_frequencies
from nne.given import as_numbers, feasible
from nne.identity import must_belong, written
from nne.population.cpp import kernel
from nne.training.errors import one_of, require, whole, within
from nne.training.learner import Metrics, State
from nne.training.seeding import key

TOPOLOGIES = ["island", "ring"]
TILE = 2**22  # alleles that are float64 at once


class Islands(Evolution):
    """``K`` populations of ``N`` individuals with ``n`` genes.

    Args:
        islands: ``K``.
        genes, population: ``n`` and ``N``, of each.
        migration: ``m``, the share of migrants in every generation.
        topology: where they come from: ``island``, all others alike; ``ring``, the two neighbours.
        seed: of the first island; the others have the seeds after it.
        how: what else ``Evolution`` takes, but for ``freeze`` and ``execution``.

    Attributes:
        p: ``[K, n]`` float64.
        best: the fittest individual of all.
        bests: the fittest of each island.

    Raises:
        UserError: an argument out of its bounds.
    """

    def __init__(
        self,
        islands: int,
        genes: int,
        population: int = 1000,
        *,
        migration: float = 0.0,
        topology: str = "island",
        seed: int = 0,
        **how: Any,
    ) -> None:
        whole("islands", islands, 1)
        require(0 <= migration <= 1, f"migration must be from 0 to 1, got {migration}")
        one_of("topology", topology, TOPOLOGIES)
        require(not how.get("freeze"), "islands do not freeze alleles: leave out freeze")
        require(how.get("part") is None, "islands have one fitness for all genes: leave out part")
        require(how.get("execution") is None, "islands are gone through at once: leave out execution")
        super().__init__(genes, population, seed=seed, **how)
        self.migration = migration
        self.topology = topology
        self.seeds = [seed + k for k in range(islands)]
        if how.get("p0") is None:
            self.p = torch.stack([initial_frequencies(genes, each) for each in self.seeds]).to(self.p.device)
        else:
            self.p = self.p.expand(islands, -1).clone()
        self.memory = self.p.new_zeros(self.rule.remembers, islands, genes)
        self.bests = [self.best] * islands

    def ask(self, individuals: range | None = None) -> Tensor:
        """This generation's genotypes, or those of some individuals of every island: ``x: [K, N, n]`` bool."""
        self.asked = True
        keys = [key(seed, "genotypes", self.generation) for seed in self.seeds]
        which = range(self.N) if individuals is None else individuals
        return draw_keyed(self.p, torch.tensor(keys, device=self.p.device), which)

    def tell(self, fitness: ArrayLike | Tensor, epsilon: float | None = None, border: float | None = None) -> Metrics:
        """Select on every island, and let migrants come.

        Args:
            fitness: ``[K, N]`` numbers, more is better; ``-inf`` as for ``Evolution``.
            epsilon, border: strength of selection and rate of mutation in this generation, if others than usual.

        Returns:
            Figures to log, as ``Evolution`` has them but for the response to selection: means over the islands; of
            ``fitness/best``, the best.

        Raises:
            UserError: fitness that is not ``[K, N]`` numbers, or that nobody asked for; nothing has changed then.
        """
        require(self.asked, f"ask for generation {self.generation} before you tell its fitness")
        delta, shape = as_numbers(fitness, self.p), (len(self.p), self.N)
        require(delta.shape == shape, f"fitness must be of shape {list(shape)}, got {list(delta.shape)}")
        delta = feasible(-delta if self.minimise else delta)
        right = bool((delta.abs() <= LARGEST).all())
        require(right, f"fitness must be finite numbers of at most {LARGEST:.0e} in size")
        strength = self.epsilon if epsilon is None else epsilon
        within("epsilon", strength, 0, float("inf"))
        check_border(border or 0.0)
        x, memory = self.ask(), self.memory.clone()
        p, memory, figures = self.select(self.p, memory, delta, strength, self.tiles_of(x), border)
        *told_of, _, made = self.told(p, delta, figures)
        require(bool(made.all()), f"{self.rules} gave allele frequencies that are not all numbers from 0 to 1")
        told = dict(zip(FIGURES, told_of, strict=True))
        fittest, best = told.pop("fittest").long(), told["fitness/best"]
        for k, (individual, reached) in enumerate(zip(fittest.tolist(), best.tolist(), strict=True)):
            signed = -reached if self.minimise else reached
            if self.better(signed, self.bests[k]):
                self.bests[k] = Individual(x[k, individual].clone(), signed)
        self.best = min(self.bests, key=lambda b: b.fitness if self.minimise else -b.fitness)
        self.p, self.memory = self.migrated(p), memory
        self.generation += 1
        self.asked = False
        metrics = {name: float(of.mean()) for name, of in told.items() if not name.startswith("response/")}
        metrics["fitness/best"] = float(best.max())
        return metrics | {name: -metrics[name] for name in SIGNED if self.minimise and name in metrics}

    def tiles_of(self, x: Tensor) -> Callable[[range], Iterable[Tensor]]:
        """Genotypes ``[..., N, n]`` for ``Sample``: at once if the kernel adds up, else so many as float64 may take."""
        if kernel.loaded() and x.is_cpu:
            return lambda individuals: [x]
        of_one = x.numel() // x.shape[-2]
        return lambda individuals: torch.split(x, max(TILE // of_one, 1), dim=-2)

    def better(self, fitness: float, than: Individual) -> bool:
        """Whether fitness is more, or less if that is asked for."""
        return fitness < than.fitness if self.minimise else fitness > than.fitness

    def select(
        self, p: Tensor, memory: Tensor, delta: Tensor, epsilon: Any, genotypes: Any, border: float | None = None
    ) -> Any:
        """All islands at once, or one after the other if the rule knows only one."""
        if self.rule.batched:
            return super().select(p, memory, delta, epsilon, genotypes, border)
        x = torch.cat(list(genotypes(range(self.N))), dim=1)
        each = zip(p, memory.unbind(dim=1), delta, x, strict=True)
        moved = [super(Islands, self).select(a, b, c, epsilon, self.tiles_of(d), border) for a, b, c, d in each]
        after, kept, figures = zip(*moved, strict=True)
        return torch.stack(after), torch.stack(kept, dim=1), torch.stack(figures, dim=1)

    def migrated(self, p: Tensor) -> Tensor:
        """``p`` once migrants have come."""
        K = len(p)
        if not self.migration or K == 1:
            return p
        others = (p.sum(dim=0) - p) / (K - 1) if self.topology == "island" else (p.roll(1, 0) + p.roll(-1, 0)) / 2
        return ((1 - self.migration) * p + self.migration * others).clamp(0, 1)

    def state_dict(self) -> State:
        """All that changes."""
        return {
            "p": self.p,
            "generation": torch.tensor(self.generation),
            "memory": self.memory,
            "bests": torch.stack([best.x for best in self.bests]),
            "best_fitness": torch.tensor([best.fitness for best in self.bests], dtype=torch.float64),
            "belongs_to": written(self.identity),
        }

    @property
    def identity(self) -> str:
        """What a state belongs to."""
        return f"{super().identity} islands={len(self.p)} migration={self.migration} topology={self.topology}"

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved generation.

        Raises:
            UserError: the state is of other islands.
        """
        must_belong(state, self.identity, "evolution")
        require(state["p"].shape == self.p.shape, f"the checkpoint is of {list(state['p'].shape)} allele frequencies")
        device = self.p.device
        self.p, self.memory = state["p"].to(device), state["memory"].to(device)
        self.generation = int(state["generation"])
        told = zip(state["bests"].to(device), state["best_fitness"].tolist(), strict=True)
        self.bests = [Individual(x, fitness) for x, fitness in told]
        self.best = min(self.bests, key=lambda b: b.fitness if self.minimise else -b.fitness)
