"""Generations on a GPU: each is one recorded graph, and is launched before the figures of the one before are read.

Evolution needs from the host only what a generation is keyed by, so the GPU need not wait while figures are logged.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nne.evolution import FIGURES, Evolution
from nne.genome import draw_keyed
from nne.training.device import send
from nne.training.graph import Recorded
from nne.training.learner import Metrics
from nne.training.seeding import key


class Launched(NamedTuple):
    """A generation that the GPU was given: ``p`` before and after, what else it leaves, and when that is ready."""

    before: Tensor
    p: Tensor
    memory: Tensor
    fittest: Tensor
    told: Tensor
    epsilon: float
    ready: torch.cuda.Event


class Replay:
    """Generations of an evolution whose fitness a GPU computes, as ``evolution.tell`` has them, bit for bit.

    Args:
        evolution: of one process, whose rule, transform and freezing let it be replayed (``evolution.replays``).
        fitness: of genotypes ``x: [N, n]`` bool and of ``chosen``, as ``[N]`` float64; the same kernels every time.
        chosen: for a generation, what its fitness depends on, ``[k]`` int64 on the CPU.
        epsilon: for a generation, the strength of selection.
    """

    def __init__(
        self,
        evolution: Evolution,
        fitness: Callable[[Tensor, Tensor], Tensor],
        chosen: Callable[[int], Tensor],
        epsilon: Callable[[int], float],
    ) -> None:
        self.evolution = evolution
        self.fitness = fitness
        self.chosen = chosen
        self.epsilon = epsilon
        self.recorded = Recorded(self.generation)
        self.launched: Launched | None = None

    def step(self) -> Metrics:
        """One generation."""
        evolution, now = self.evolution, self.launched
        if now is None or now.before is not evolution.p:
            now = self.launch(evolution.p, evolution.memory, evolution.generation)
        self.launched = self.launch(now.p, now.memory, evolution.generation + 1)
        now.ready.synchronize()  # here a GPU is waited for
        return evolution.go_on(now.p, now.memory, now.told.tolist(), now.epsilon, lambda _: now.fittest)

    def launch(self, p: Tensor, memory: Tensor, generation: int) -> Launched:
        """Give the GPU one generation, and do not wait for it."""
        epsilon = self.epsilon(generation)
        strength = torch.tensor([epsilon], dtype=torch.float64).view(torch.int64)
        numbers = torch.cat([torch.tensor([key(self.evolution.seed, "genotypes", generation)]), strength])
        sent = send(torch.cat([numbers, self.chosen(generation)]), p.device)
        after, memory, fittest, figures = self.recorded(p, memory, sent)
        told = torch.empty(len(FIGURES) + 2, dtype=torch.float64, pin_memory=True).copy_(figures, non_blocking=True)
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        return Launched(p, after, memory, fittest, told, epsilon, ready)

    def generation(self, p: Tensor, memory: Tensor, sent: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw, evaluate and select: ``p`` of the next generation, what the rule remembers, the fittest, figures."""
        evolution = self.evolution
        x = draw_keyed(p, sent[0], range(evolution.N))
        delta = self.fitness(x, sent[2:])
        after, memory, figures = evolution.select(p, memory, delta, sent[1].view(torch.float64), lambda _: [x])
        fittest = x.index_select(0, delta.argmax()[None])[0]
        return after, memory, fittest, evolution.told(after, delta, figures)
