"""One scalar for all: noise, and by how much the loss changed. The peers of evolution and of dopamine.

``L`` is an image's loss, ``L~`` the same with noise; ``xi`` is standard normal, ``sigma`` its size:

- ``node`` (Williams 1992, doi 10.1007/BF00992696; Dalm, van Gerven and Ahmad 2023, arXiv 2310.00965): noise at each
  unit of every layer, ``a_i + sigma xi_i``, and ``W_i -= rate (L~ - L) / sigma xi_i h_{i-1}^T``. What a layer sees can
  be decorrelated first, ``R_i h_{i-1}``, with ``R_i -= eta (C - diag C) R_i`` for the correlations ``C`` of that.
- ``weight`` (Jabri and Flower 1992): noise on all weights, ``W_i -= rate (L~ - L) / sigma Xi_i``, with the mean loss
  of the minibatch.
- ``rank_one`` (after EGGROLL, Sarkar et al. 2025, arXiv 2511.16652): the same with ``Xi = a b^T``, another for each
  image, which costs no more than noise at the nodes, ``a (b^T h)``.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.models import plain
from nne.zoo.config import PerturbationConfig
from nne.zoo.layers import Layers, Need, normal_like, outer


class Perturbation(Layers):
    """Learns by what noise does to the loss."""

    needs = frozenset({Need.SCALAR, Need.SECOND_PASS})

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        super().__init__(config, data, compute)
        self.rule: PerturbationConfig = config.learner
        if self.rule.decorrelation_rate:
            sources = [w.shape[1] for w in self.weights]
            self.memory = {f"decorrelation/{i}": torch.eye(n, device=compute.device) for i, n in enumerate(sources)}

    def seen(self, i: int, h: Tensor) -> Tensor:
        """What layer ``i`` sees of the activity below it: as it is, or decorrelated."""
        return h @ self.memory[f"decorrelation/{i}"].T if self.memory else h

    def forward(self, images: Tensor) -> list[Tensor]:
        """The hidden layers, and the logits last."""
        return self.passed(images, [])[1]

    def passed(self, images: Tensor, noise: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What each layer sees, and its activity (of the output layer, logits), with ``noise`` added at its units."""
        below, h = [], [images]
        for i, w in enumerate(self.weights):
            below.append(self.seen(i, h[-1]))
            a = below[-1] @ w.T + (noise[i] if noise else 0)
            h.append(a if i == len(self.weights) - 1 else a.relu())
        return below, h[1:]

    def changes(self, images: Tensor, labels: Tensor, step: int) -> tuple[list[Tensor], Tensor]:
        """The mean over the noises that are tried."""
        below, h = self.passed(images, [])
        before = cross_entropy(h[-1], labels, reduction="none")
        trial = {"node": self.node, "weight": self.weight, "rank_one": self.rank_one}[self.rule.rule]
        found = [torch.zeros_like(w) for w in self.weights]
        for sample in range(self.rule.samples):
            for total, one in zip(found, trial(images, labels, before, below, f"{step}, {sample}"), strict=True):
                total += one / self.rule.samples
        if self.memory and step >= 0:
            self.decorrelate(below)
        return found, h[-1]

    def node(self, images: Tensor, labels: Tensor, before: Tensor, below: list[Tensor], name: str) -> list[Tensor]:
        """Noise at units."""
        xi = [
            normal_like(seen.new_empty(len(seen), len(w)), self.seed, f"noise {name} {i}")
            for i, (seen, w) in enumerate(zip(below, self.weights, strict=True))
        ]
        _, h = self.passed(images, [self.rule.sigma * each for each in xi])
        worse = (cross_entropy(h[-1], labels, reduction="none") - before)[:, None] / self.rule.sigma
        return [outer(worse * each, seen) for each, seen in zip(xi, below, strict=True)]

    def rank_one(self, images: Tensor, labels: Tensor, before: Tensor, below: list[Tensor], name: str) -> list[Tensor]:
        """Noise ``a b^T`` on weights, where there are links, another for each image."""
        h, pairs = images, []
        for i, w in enumerate(self.weights):
            a = normal_like(h.new_empty(len(h), len(w)), self.seed, f"noise above {name} {i}")
            b = normal_like(h, self.seed, f"noise below {name} {i}")
            pairs.append((a, b))
            noisy = h @ w.T + self.rule.sigma * a * ((b * h) @ self.present[i].T)
            h = noisy if i == len(self.weights) - 1 else noisy.relu()
        worse = (cross_entropy(h, labels, reduction="none") - before)[:, None] / self.rule.sigma
        return [outer(worse * a, b) for a, b in pairs]

    def weight(self, images: Tensor, labels: Tensor, before: Tensor, below: list[Tensor], name: str) -> list[Tensor]:
        """Noise on weights, where there are links, the same for all images."""
        xi = [
            normal_like(w, self.seed, f"noise {name} {i}") * there
            for i, (w, there) in enumerate(zip(self.weights, self.present, strict=True))
        ]
        h = images
        for i, (w, each) in enumerate(zip(self.weights, xi, strict=True)):
            h = h @ (w + self.rule.sigma * each).T
            h = h if i == len(xi) - 1 else h.relu()
        worse = (cross_entropy(h, labels) - before.mean()) / self.rule.sigma
        return [worse * each for each in xi]

    def decorrelate(self, below: list[Tensor]) -> None:
        """One update of every ``R_i``."""
        for i, seen in enumerate(below):
            correlations = outer(seen, seen)
            correlations.fill_diagonal_(0)
            R = self.memory[f"decorrelation/{i}"]
            R -= self.rule.decorrelation_rate * correlations @ R

    def as_module(self) -> nn.Module:
        """The network, with what decorrelates as part of its weights."""
        matrices = [w @ self.memory[f"decorrelation/{i}"] if self.memory else w for i, w in enumerate(self.weights)]
        return plain.layered(matrices, None)
