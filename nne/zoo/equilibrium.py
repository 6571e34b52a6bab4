"""Equilibrium propagation (Scellier and Bengio 2017, doi 10.3389/fncom.2017.00024).

Layers ``s_1 .. s_L`` (the last is the output) go down an energy, with ``rho(s) = min(max(s, 0), 1)`` and ``s_0 = x``::

    E = sum_i |s_i|^2 / 2 - sum_i rho(s_i)^T W_i rho(s_{i-1}),        ds_i/dt = -dE/ds_i

first freely, then with the output nudged towards the label by ``beta (l - s_L)``. The difference of the two states is
what synapses see::

    W_i += rate / beta (rho_i rho_{i-1}^T, nudged - rho_i rho_{i-1}^T, free)

which for small ``beta`` goes down ``|s_L - l|^2 / 2``. The sign of ``beta`` is drawn for each update, states are held
within 0 and 1, and each free phase begins at 0. Added up over the nudged phase the change is firing before a synapse
times the rate of change after it, and the same with both sides exchanged: the reading of spike-timing-dependent
plasticity in Bengio, Lee, Bornschein, Mesnard and Lin 2015 (arXiv 1502.04156).
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.seeding import generator
from nne.zoo.config import EquilibriumConfig
from nne.zoo.layers import Layers, Need, outer, speed


def relaxed(
    weights: list[Tensor],
    images: Tensor,
    state: list[Tensor],
    steps: int,
    step_size: float,
    label: Tensor | None = None,
    beta: float = 0.0,
) -> list[Tensor]:
    """The layers ``[B, units]`` after so many steps towards less energy, nudged if there is a label ``[B, C]``."""
    drive = images @ weights[0].T
    for _ in range(steps):
        moved = []
        for i, s in enumerate(state):
            below = state[i - 1] @ weights[i].T if i else drive
            above = state[i + 1] @ weights[i + 1] if i + 1 < len(state) else 0
            nudge = 0 if label is None or i + 1 < len(state) else beta * (label - s)
            moved.append((s + step_size * (below + above + nudge - s)).clamp(0, 1))
        state = moved
    return state


def silent(weights: list[Tensor], images: Tensor) -> list[Tensor]:
    """Layers that do not fire, ``[B, units]``."""
    return [images.new_zeros(len(images), len(w)) for w in weights]


class Relaxation(nn.Module):
    """A network that answers with where its output comes to rest."""

    def __init__(self, matrices: list[Tensor], steps: int, step_size: float) -> None:
        super().__init__()
        self.matrices = nn.ParameterList(w.detach().float().cpu().clone() for w in matrices)
        self.steps = steps
        self.step_size = step_size

    def forward(self, images: Tensor) -> Tensor:
        """The output layer ``[B, C]`` of images ``[B, inputs]``."""
        weights = list(self.matrices)
        return relaxed(weights, images, silent(weights, images), self.steps, self.step_size)[-1]


class Equilibrium(Layers):
    """Learns by the difference of two equilibria."""

    needs = frozenset({Need.ERROR, Need.SECOND_PASS, Need.TRANSPORT})
    charts: ClassVar[dict[str, list[str]]] = {**Layers.charts, "still moving": ["relaxation/speed"]}

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        super().__init__(config, data, compute)
        self.rule: EquilibriumConfig = config.learner

    def free(self, images: Tensor) -> list[Tensor]:
        """The layers at the end of the free phase."""
        start = silent(self.weights, images)
        return relaxed(self.weights, images, start, self.rule.free_steps, self.rule.step_size)

    def changes(self, images: Tensor, labels: Tensor, step: int) -> tuple[list[Tensor], Tensor]:
        """``-(nudged - free) / beta``."""
        rule, free = self.rule, self.free(images)
        sign = 2 * int(torch.randint(2, (), generator=generator(self.seed, "nudge", step))) - 1
        beta, label = sign * rule.beta, self.label(labels)
        moved = relaxed(self.weights, images, free, rule.nudged_steps, rule.step_size, label, beta)
        before, after = (
            [outer(above, below) for above, below in zip(s, [images, *s[:-1]], strict=True)] for s in (free, moved)
        )
        return [(a - b) / beta for a, b in zip(before, after, strict=True)], free[-1]

    def logits(self, images: Tensor) -> Tensor:
        """The output layer at the end of the free phase."""
        return self.free(images)[-1]

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """``|s_L - l|^2 / 2``, averaged over the images."""
        return (self.logits(images) - self.label(labels)).square().sum(dim=1).mean() / 2

    def more_figures(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """How fast the network still moves when its free phase is over: it should be at rest."""
        free = self.free(images)
        again = relaxed(self.weights, images, free, 1, self.rule.step_size)
        return {"relaxation/speed": speed(free, again) / self.rule.step_size}

    def as_module(self) -> nn.Module:
        """The free phase."""
        return Relaxation(self.weights, self.rule.free_steps, self.rule.step_size)
