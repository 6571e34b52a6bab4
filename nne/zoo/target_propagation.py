"""Difference target propagation (Lee, Zhang, Fischer and Bengio 2015, arXiv 1412.7525), with ``f = tanh``.

Layers get targets in place of errors. That of the last hidden layer is a step down the loss; below it, targets come
through learnt inverses ``g_i``, whose own error is taken off::

    t_{L-1} = h_{L-1} - target_rate W_L^T e
    t_{i-1} = h_{i-1} + g_i(t_i) - g_i(h_i),    g_i(u) = f(V_i u)

Each layer goes down ``|h_i - t_i|^2 / 2``, and each inverse down ``|g_i(h_i(u)) - u|^2 / 2`` for noisy ``u`` around
``h_{i-1}``.
"""

from typing import ClassVar

from torch import Tensor, nn

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.zoo.config import TargetPropagationConfig
from nne.zoo.layers import Layers, Need, normal_like, outer, random_like


class TargetPropagation(Layers):
    """Learns by targets, and its inverses by noise."""

    needs = frozenset({Need.ERROR, Need.SECOND_PASS, Need.TRANSPORT})
    activation: ClassVar[type[nn.Module]] = nn.Tanh

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        super().__init__(config, data, compute)
        self.rule: TargetPropagationConfig = config.learner
        upper = self.weights[1:-1]
        self.memory = {
            f"inverse/{i}": random_like(w, config.seed, "inverse", i).T.contiguous() for i, w in enumerate(upper, 1)
        }

    def inverse(self, i: int, h: Tensor) -> Tensor:
        """``g_i``: what layer ``i - 1`` may have been, ``[B, units_{i-1}]``, given layer ``i``."""
        undone: Tensor = self.f(h @ self.memory[f"inverse/{i}"].T)
        return undone

    def targets(self, h: list[Tensor], e: Tensor) -> list[Tensor]:
        """``t_i`` of every hidden layer."""
        targets = [h[-1] - self.rule.target_rate * e @ self.weights[-1]]
        for i in range(len(h) - 1, 0, -1):
            targets.insert(0, h[i - 1] + self.inverse(i, targets[0]) - self.inverse(i, h[i]))
        return targets

    def changes(self, images: Tensor, labels: Tensor, step: int) -> tuple[list[Tensor], Tensor]:
        """``(h_i - t_i) f' h_{i-1}^T``; the inverses learn here too, if this is an update."""
        *h, logits = self.forward(images)
        e = logits.softmax(dim=1) - self.label(labels)
        deltas = [(have - want) * (1 - have**2) for have, want in zip(h, self.targets(h, e), strict=True)]
        if step >= 0:
            self.learn_inverses(h, step)
        return [outer(delta, below) for delta, below in zip([*deltas, e], [images, *h], strict=True)], logits

    def learn_inverses(self, h: list[Tensor], step: int) -> None:
        """One update of every ``V_i``."""
        for i in range(1, len(h)):
            noise = normal_like(h[i - 1], self.seed, f"noise {i}", step)
            noisy = h[i - 1] + self.rule.noise * noise
            above = self.f(noisy @ self.weights[i].T)
            undone = self.inverse(i, above)
            delta = (undone - noisy) * (1 - undone**2)
            self.memory[f"inverse/{i}"] -= self.rule.inverse_rate * outer(delta, above)
