"""Backpropagation and its kin: the same updates, by other pathways for the error.

All change weights by ``delta_i h_{i-1}^T``, with the error ``e = z - l`` at the output, and differ in ``delta_i``:

- ``backprop``: ``delta_i = (delta_{i+1} W_{i+1}) f'``, which transports every weight to the way down.
- ``fa``, feedback alignment (Lillicrap et al. 2016, doi 10.1038/ncomms13276): a fixed random ``B`` for ``W``.
- ``sign``, sign symmetry (Liao et al. 2016, arXiv 1510.05067): the signs of ``W`` alone.
- ``kp``, Kolen and Pollack's rule of 1994 (Akrout et al. 2019, arXiv 1904.05391): ``B`` gets the same updates as
  ``W``, and both decay, so that they become alike; no weight is transported.
- ``mirror``, weight mirrors (the same): noise fired through a layer teaches ``B`` to be like ``W``.
- ``dfa``, direct feedback alignment (Nokland 2016, arXiv 1609.01596): ``delta_i = (e B_i) f'`` for every layer.
- ``drtp``, direct random target projection (Frenkel et al. 2021, doi 10.3389/fnins.2021.629892):
  ``delta_i = -(l B_i) f'``, by the label alone.
- ``frozen``: hidden layers stay as they were drawn. The floor under all of them.
"""

from typing import ClassVar

import torch
from torch import Tensor

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.zoo.config import FeedbackConfig
from nne.zoo.layers import Layers, Need, normal_like, outer, random_like


class Pathway:
    """By what matrices the error comes down: by default fixed random ones, layer by layer, as in feedback alignment.

    Args:
        config, seed: of the run.
        weights: of every layer, ``[units, sources]``.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ERROR})

    def __init__(self, config: FeedbackConfig, weights: list[Tensor], seed: int) -> None:
        self.config = config
        self.seed = seed
        self.drawn = self.draw(weights)

    def draw(self, weights: list[Tensor]) -> list[Tensor]:
        """The matrices at first, ``[units_{i+1}, units_i]`` for every layer but the first."""
        return [random_like(w, self.seed, "feedback", i) for i, w in enumerate(weights[1:])]

    def matrices(self, weights: list[Tensor], B: list[Tensor]) -> list[Tensor]:
        """What the error meets in place of ``weights[1:]``."""
        return B

    def deltas(self, e: Tensor, label: Tensor, h: list[Tensor], weights: list[Tensor], B: list[Tensor]) -> list[Tensor]:
        """``delta_i: [B, units]`` of every hidden layer, given the error and the label ``[B, C]``."""
        result: list[Tensor] = []
        for matrix, active in zip(reversed(self.matrices(weights, B)), reversed(h), strict=True):
            e = (e @ matrix) * (active > 0)
            result.insert(0, e)
        return result

    def adapt(self, updates: list[Tensor], weights: list[Tensor], B: list[Tensor], step: int) -> None:
        """Change ``B``, in place, once weights have changed by ``-updates``: by default nothing."""


class Frozen(Pathway):
    """No error reaches the hidden layers."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def draw(self, weights: list[Tensor]) -> list[Tensor]:
        return []

    def deltas(self, e: Tensor, label: Tensor, h: list[Tensor], weights: list[Tensor], B: list[Tensor]) -> list[Tensor]:
        return [torch.zeros_like(active) for active in h]


class Backprop(Pathway):
    """The transposed weights themselves."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ERROR, Need.TRANSPORT})

    def draw(self, weights: list[Tensor]) -> list[Tensor]:
        return []

    def matrices(self, weights: list[Tensor], B: list[Tensor]) -> list[Tensor]:
        return weights[1:]


class SignSymmetry(Backprop):
    """Their signs, all of the mean size of the weights that there are."""

    def matrices(self, weights: list[Tensor], B: list[Tensor]) -> list[Tensor]:
        return [w.sign() * (w.abs().sum() / w.count_nonzero().clamp(min=1)) for w in weights[1:]]


class KolenPollack(Pathway):
    """The same updates as the weights', and the same decay for both."""

    def adapt(self, updates: list[Tensor], weights: list[Tensor], B: list[Tensor], step: int) -> None:
        kept = 1 - self.config.feedback_rate
        for matrix, w, update in zip(B, weights[1:], updates[1:], strict=True):
            matrix.sub_(update).mul_(kept)
            w.mul_(kept)


class WeightMirror(Pathway):
    """Noise ``xi`` at a layer, and what comes of it above: ``B`` moves towards ``W`` by ``xi`` times the response."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ERROR, Need.SECOND_PASS})

    def adapt(self, updates: list[Tensor], weights: list[Tensor], B: list[Tensor], step: int) -> None:
        rate = self.config.feedback_rate
        for i, (matrix, w) in enumerate(zip(B, weights[1:], strict=True)):
            xi = normal_like(w.new_empty(self.config.batch, w.shape[1]), self.seed, f"mirror {i}", step)
            matrix.mul_(1 - rate).add_(rate * outer(xi @ w.T, xi))


class Direct(Pathway):
    """From the output straight to every layer, through fixed random matrices ``[C, units]``."""

    def draw(self, weights: list[Tensor]) -> list[Tensor]:
        classes = len(weights[-1])
        shapes = [w.new_empty(classes, len(w)) for w in weights[:-1]]
        return [random_like(shape, self.seed, "feedback", i) for i, shape in enumerate(shapes)]

    def deltas(self, e: Tensor, label: Tensor, h: list[Tensor], weights: list[Tensor], B: list[Tensor]) -> list[Tensor]:
        return [(e @ matrix) * (active > 0) for matrix, active in zip(B, h, strict=True)]


class DirectTarget(Direct):
    """As direct feedback, of the label alone."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.LABELS})

    def deltas(self, e: Tensor, label: Tensor, h: list[Tensor], weights: list[Tensor], B: list[Tensor]) -> list[Tensor]:
        return super().deltas(-label, label, h, weights, B)


PATHWAYS: dict[str, type[Pathway]] = {
    "frozen": Frozen,
    "backprop": Backprop,
    "fa": Pathway,
    "dfa": Direct,
    "drtp": DirectTarget,
    "sign": SignSymmetry,
    "kp": KolenPollack,
    "mirror": WeightMirror,
}


class Feedback(Layers):
    """Learns by one of ``PATHWAYS``."""

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        super().__init__(config, data, compute)
        rule: FeedbackConfig = config.learner
        self.pathway = PATHWAYS[rule.rule](rule, self.weights, config.seed)
        self.needs = self.pathway.needs
        self.memory = {f"feedback/{i}": matrix for i, matrix in enumerate(self.pathway.drawn)}

    def changes(self, images: Tensor, labels: Tensor, step: int) -> tuple[list[Tensor], Tensor]:
        """``delta_i h_{i-1}^T``."""
        *h, logits = self.forward(images)
        label = self.label(labels)
        e = logits.softmax(dim=1) - label
        deltas = self.pathway.deltas(e, label, h, self.weights, list(self.memory.values()))
        return [outer(delta, below) for delta, below in zip([*deltas, e], [images, *h], strict=True)], logits

    def adapt(self, updates: list[Tensor], step: int) -> None:
        """As the pathway does."""
        self.pathway.adapt(updates, self.weights, list(self.memory.values()), step)
