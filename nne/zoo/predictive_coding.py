"""Predictive coding (Whittington and Bogacz 2017, doi 10.1162/NECO_a_00949).

Each layer has a value ``v_i`` and is predicted from below, ``mu_i = W_i f(v_{i-1})`` with ``f = relu`` and
``f(v_0) = x``. With the label at the output, the values go down the sum of all errors of prediction::

    F = sum_i |v_i - mu_i|^2 / 2 + pi L(l, W_L f(v_{L-1})),        dv_i/dt = -eps_i + f'(v_i) W_{i+1}^T eps_{i+1}

where ``eps_i = v_i - mu_i``, and ``pi (l - z)`` at the output. Then ``W_i += rate / pi eps_i f(v_{i-1})^T``. For small
``pi``, values hardly move and this is the gradient.
"""

from typing import ClassVar

from torch import Tensor

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.zoo.config import PredictiveCodingConfig
from nne.zoo.layers import Layers, Need, outer, speed


class PredictiveCoding(Layers):
    """Learns once values have relaxed."""

    needs = frozenset({Need.ERROR, Need.SECOND_PASS, Need.TRANSPORT})
    charts: ClassVar[dict[str, list[str]]] = {**Layers.charts, "still moving": ["relaxation/speed"]}

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        super().__init__(config, data, compute)
        self.rule: PredictiveCodingConfig = config.learner

    def values(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """``v_i`` as they are predicted, before the label is there; and the logits."""
        v, below = [], images
        for w in self.weights[:-1]:
            v.append(below @ w.T)
            below = v[-1].relu()
        return v, below @ self.weights[-1].T

    def errors(self, drive: Tensor, v: list[Tensor], label: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """``eps_i`` of every layer, the output's last, given ``mu_1``; and the ``f(v_i)`` of hidden layers."""
        fired = [value.relu() for value in v]
        mu = [drive, *(below @ w.T for below, w in zip(fired, self.weights[1:], strict=True))]
        e = self.rule.precision_of_label * (label - mu[-1].softmax(dim=1))
        return [*(value - predicted for value, predicted in zip(v, mu, strict=False)), e], fired

    def relax(self, drive: Tensor, v: list[Tensor], label: Tensor) -> list[Tensor]:
        """One step of every value."""
        eps, _ = self.errors(drive, v, label)
        pulls = [(above @ w) * (value > 0) for above, w, value in zip(eps[1:], self.weights[1:], v, strict=True)]
        size = self.rule.step_size
        return [value + size * (pull - own) for value, pull, own in zip(v, pulls, eps, strict=False)]

    def rest(self, v: list[Tensor], label: Tensor) -> list[Tensor]:
        """Every value after all steps, from where it is predicted."""
        drive = v[0]
        for _ in range(self.rule.steps):
            v = self.relax(drive, v, label)
        return v

    def changes(self, images: Tensor, labels: Tensor, step: int) -> tuple[list[Tensor], Tensor]:
        """``-eps_i f(v_{i-1})^T / pi`` where the values come to rest."""
        label, (predicted, logits) = self.label(labels), self.values(images)
        eps, fired = self.errors(predicted[0], self.rest(predicted, label), label)
        pi = self.rule.precision_of_label
        return [-outer(error, below) / pi for error, below in zip(eps, [images, *fired], strict=True)], logits

    def more_figures(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """How fast values still move when their time is over: they should be at rest."""
        label, (predicted, _) = self.label(labels), self.values(images)
        v = self.rest(predicted, label)
        return {"relaxation/speed": speed(v, self.relax(predicted[0], v, label)) / self.rule.step_size}
