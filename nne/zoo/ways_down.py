"""Backpropagation and its kin: the same updates, by other ways down for the error.

Layers ``h_i = relu(W_i h_{i-1})`` under a softmax with the error ``e = z - l``. All change weights by
``W_i -= rate * delta_i h_{i-1}^T``, averaged over a minibatch, and differ in ``delta_i``, ``[B, units]``:

- ``backprop``: ``delta_i = (delta_{i+1} W_{i+1}) relu'``, which transports every weight to the way down.
- ``fa``, feedback alignment (Lillicrap et al. 2016, doi 10.1038/ncomms13276): a fixed random ``B`` for ``W``.
- ``sign``, sign symmetry (Liao et al. 2016, arXiv 1510.05067): the signs of ``W`` alone.
- ``kp``, Kolen and Pollack's rule (Akrout et al. 2019, arXiv 1904.05391): ``B`` gets the same updates as ``W``, and
  both decay, so that they become alike; no weight is transported.
- ``mirror``, weight mirrors (the same): noise fired through a layer teaches ``B`` to be like ``W``.
- ``dfa``, direct feedback alignment (Nokland 2016, arXiv 1609.01596): ``delta_i = (e B_i) relu'`` for every layer.
- ``frozen``: hidden layers stay as they were drawn. The floor under all of them.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from nne.training.seeding import generator
from nne.zoo.config import FeedbackConfig


class WayDown(ABC):
    """What the error meets on its way down: ``feedback`` is what multiplies it, and is saved with the weights."""

    needs_transport: ClassVar[bool] = False
    """Whether the way down must know the weights of the way up."""

    def __init__(self, weights: list[Tensor], config: FeedbackConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.feedback: list[Tensor] = self.drawn(weights)

    def drawn(self, weights: list[Tensor]) -> list[Tensor]:
        """The feedback at the start: by default none."""
        return []

    @abstractmethod
    def deltas(self, e: Tensor, h: list[Tensor], weights: list[Tensor]) -> list[Tensor | None]:
        """``delta_i: [B, units]`` of every hidden layer, given the error ``[B, C]``; None: no change."""

    def adapt(self, updates: list[Tensor], weights: list[Tensor], step: int) -> None:  # noqa: B027  # most do not
        """Change the feedback, once weights have changed by ``-updates``: by default nothing."""


class Frozen(WayDown):
    """No way down."""

    def deltas(self, e: Tensor, h: list[Tensor], weights: list[Tensor]) -> list[Tensor | None]:
        return [None] * len(h)


class Layerwise(WayDown):
    """Layer by layer, through a matrix for each: by default random and fixed, as feedback alignment has it."""

    def drawn(self, weights: list[Tensor]) -> list[Tensor]:
        return [_random_like(w, self.seed, i) for i, w in enumerate(weights[1:])]

    def matrices(self, weights: list[Tensor]) -> list[Tensor]:
        """``[units_{i+1}, units_i]`` of every layer but the first."""
        return self.feedback

    def deltas(self, e: Tensor, h: list[Tensor], weights: list[Tensor]) -> list[Tensor | None]:
        result: list[Tensor | None] = []
        for matrix, activity in zip(reversed(self.matrices(weights)), reversed(h), strict=True):
            e = (e @ matrix) * (activity > 0)
            result.insert(0, e)
        return result


class Backprop(Layerwise):
    """The transposed weights themselves."""

    needs_transport = True

    def drawn(self, weights: list[Tensor]) -> list[Tensor]:
        return []

    def matrices(self, weights: list[Tensor]) -> list[Tensor]:
        return weights[1:]


class SignSymmetry(Backprop):
    """Their signs, all of the mean size of the weights."""

    def matrices(self, weights: list[Tensor]) -> list[Tensor]:
        return [w.sign() * w.abs().mean() for w in weights[1:]]


class KolenPollack(Layerwise):
    """The same updates as the weights', and the same decay for both."""

    def adapt(self, updates: list[Tensor], weights: list[Tensor], step: int) -> None:
        kept = 1 - self.config.feedback_rate
        for i, update in enumerate(updates[1:]):
            self.feedback[i] = kept * (self.feedback[i] - update)
            weights[i + 1].mul_(kept)


class WeightMirror(Layerwise):
    """Noise ``xi`` at a layer, and what comes of it above: ``B`` moves towards ``W`` by ``xi`` times the response."""

    def adapt(self, updates: list[Tensor], weights: list[Tensor], step: int) -> None:
        rate, stream = self.config.feedback_rate, generator(self.seed, "mirror", step)
        for i, w in enumerate(weights[1:]):
            xi = torch.randn(self.config.batch, w.shape[1], generator=stream).to(w.device)
            response = (xi @ w.T).T @ xi / len(xi)
            self.feedback[i] = (1 - rate) * self.feedback[i] + rate * response


class Direct(WayDown):
    """From the output straight to every layer, through fixed random matrices ``[C, units]``."""

    def drawn(self, weights: list[Tensor]) -> list[Tensor]:
        classes = len(weights[-1])
        return [_random_like(w.new_empty(classes, len(w)), self.seed, i) for i, w in enumerate(weights[:-1])]

    def deltas(self, e: Tensor, h: list[Tensor], weights: list[Tensor]) -> list[Tensor | None]:
        return [(e @ B) * (activity > 0) for B, activity in zip(self.feedback, h, strict=True)]


RULES: dict[str, type[WayDown]] = {
    "frozen": Frozen,
    "backprop": Backprop,
    "fa": Layerwise,
    "dfa": Direct,
    "sign": SignSymmetry,
    "kp": KolenPollack,
    "mirror": WeightMirror,
}


def _random_like(w: Tensor, seed: int, layer: int) -> Tensor:
    """A matrix of the same shape, uniform and of variance ``1 / fan-in`` on its way down."""
    bound = (3 / len(w)) ** 0.5
    matrix: Tensor = (2 * torch.rand(w.shape, generator=generator(seed, "feedback", layer)) - 1) * bound
    return matrix.to(w.device, w.dtype)
