"""What a user might pick instead of evolution of alleles, on the same images: dense 784-1000-10 networks.

Here, in PyTorch: a rank-1 strategy after EGGROLL (Sarkar et al. 2025), SGD, and evolution of alleles without its
kernels; ``library_peers.py`` has the libraries' own. All begin with the same weights.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nne.fitness import reward
from nne.learners.environment import Environment
from nne.learners.network import NetworkEvolution
from nne.population.base import SparseNetworks
from nne.training.data.datasets import Dataset
from nne.training.models.network import uniform
from nne.training.seeding import generator

HIDDEN = 1000
AT_ONCE = {"cpu": 8, "cuda": 64}  # networks of a population
IMAGES_AT_ONCE = {"cpu": 128, "cuda": 2048}  # of which the hidden layers of so many networks stay in a CPU's cache


@dataclass(frozen=True)
class Setting:
    """What is tuned: the step size, and of a strategy the sd of its perturbations and the networks tried in a step."""

    step_size: float
    sigma: float = 0.0
    population: int = 1

    def neighbours(self) -> list["Setting"]:
        """One figure a step up or down in 1, 3, 10, 30 ...; a figure that is not used stays as it is."""
        settings = [replace(self, step_size=size) for size in _beside(self.step_size)]
        if self.sigma:
            settings += [replace(self, sigma=sigma) for sigma in _beside(self.sigma)]
            settings += [replace(self, population=int(size)) for size in _beside(self.population)]
        return settings


def _beside(figure: float) -> tuple[float, float]:
    place = round(2 * math.log10(figure))
    down, up = (float(f"{10 ** (at / 2):.0e}") for at in (place - 1, place + 1))
    return down, up


class Peer(ABC):
    """A way to train one dense network ``relu(y W1) W2`` by steps.

    Args:
        batch: images in a step; None: all.
    """

    package: ClassVar[str | None] = None
    """What must be installed for it."""

    def __init__(self, data: Dataset, setting: Setting, batch: int | None, seed: int = 0) -> None:
        self.images = data.train_images
        self.labels = data.train_labels
        self.classes = len(data.classes)
        self.setting = setting
        self.population = setting.population
        self.batch = batch
        self.seed = seed
        self.steps = 0
        stream = generator(seed, "initial weights")
        self.shapes = (data.train_images.shape[1], HIDDEN), (HIDDEN, self.classes)
        bounds = (6 / self.shapes[0][0]) ** 0.5, HIDDEN**-0.5
        drawn = [uniform(shape, bound, stream) for shape, bound in zip(self.shapes, bounds, strict=True)]
        self.start = [w.to(self.images.device) for w in drawn]

    def step(self) -> None:
        """Try, and move."""
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "minibatch", self.steps))
        chosen = order[: self.batch]
        self.move(self.images[chosen], self.labels[chosen])
        self.steps += 1

    @abstractmethod
    def move(self, images: Tensor, labels: Tensor) -> None:
        """One step on these images."""

    @abstractmethod
    def weights(self) -> list[Tensor]:
        """``W1`` and ``W2`` now; of a strategy, the mean."""

    @torch.no_grad()
    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Share of images that the network gets right."""
        first, second = self.weights()
        return float(((images @ first).relu_() @ second).argmax(dim=1).eq(labels).double().mean())

    def networks(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of parameters ``[N, parameters]`` as matrices."""
        first = self.shapes[0][0] * HIDDEN
        return flat[:, :first].view(-1, *self.shapes[0]), flat[:, first:].view(-1, *self.shapes[1])


class SGD(Peer):
    """Backpropagation: what all of them are measured by. A step is an update."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.parameters = [w.requires_grad_() for w in self.start]
        self.optimiser = torch.optim.SGD(self.parameters, lr=self.setting.step_size)

    def move(self, images: Tensor, labels: Tensor) -> None:
        """One update."""
        first, second = self.parameters
        self.optimiser.zero_grad()
        cross_entropy((images @ first).relu_() @ second, labels).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def weights(self) -> list[Tensor]:
        """Those that are trained."""
        return self.parameters


class RankOne(Peer):
    """Evolution strategy with perturbations ``sigma a b^T`` of each matrix, in pairs of opposite sign, and Adam.

    A perturbed network costs little more than what all share, ``y W``: ``y (W + sigma a b^T) = y W + sigma (y a) b``.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.optimiser = torch.optim.Adam(self.start, lr=self.setting.step_size)

    def draw(self) -> list[tuple[Tensor, Tensor]]:
        """``a: [N, rows]`` and ``b: [N, columns]`` of each matrix."""
        stream = generator(self.seed, "perturbations", self.steps)
        pairs = [[torch.randn(self.population // 2, size, generator=stream) for size in s] for s in self.shapes]
        device = self.images.device
        return [(torch.cat([a, -a]).to(device), torch.cat([b, b]).to(device)) for a, b in pairs]

    def losses(self, drawn: list[tuple[Tensor, Tensor]], images: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of each perturbed network, ``[N]``."""
        (a1, b1), (a2, b2), (first, second) = *drawn, self.start
        shared, along = images @ first, self.setting.sigma * (images @ a1.T)
        device, kind = images.device, images.device.type
        total = torch.zeros(len(a1), device=device)
        for some in torch.split(torch.arange(len(a1), device=device), AT_ONCE[kind]):
            for part in torch.split(torch.arange(len(labels), device=device), IMAGES_AT_ONCE[kind]):
                h = torch.addcmul(shared[part], along[part][:, some].T[:, :, None], b1[some, None, :]).relu_()
                within = self.setting.sigma * (h @ a2[some, :, None])
                logits = torch.addcmul(h @ second, within, b2[some, None, :])
                total[some] += mean_loss(logits, labels[part]) * len(part)
        return total / len(labels)

    def move(self, images: Tensor, labels: Tensor) -> None:
        """Along the mean of the perturbations, weighted by how badly they did."""
        drawn = self.draw()
        losses = self.losses(drawn, images, labels)
        badness = (losses - losses.mean()) / losses.std()
        for matrix, (a, b) in zip(self.start, drawn, strict=True):
            matrix.grad = (a * badness[:, None]).T @ b / len(badness)
        self.optimiser.step()

    def weights(self) -> list[Tensor]:
        """The mean."""
        return self.start


class DenseEnvironment(Environment):
    """The same networks evaluated by full fp32 layers, as one would write it at first."""

    whole = False

    def dense_rewards(self, individuals: range, images: Tensor, labels: Tensor) -> Tensor:
        """``delta_x`` of some individuals."""
        networks = self.population
        assert isinstance(networks, SparseNetworks)
        first = networks.topology.first
        pixel, unit = first.source.to(images.device), first.unit.to(images.device)
        weights = networks.whole.to(images.device, torch.float32).weights(self.genotypes(individuals)).T
        edges = len(pixel)
        w_in = images.new_zeros(len(individuals), first.sources, first.units)
        w_in[:, pixel, unit] = weights[:, :edges]
        w_out = weights[:, edges:].reshape(len(individuals), first.units, -1)
        logits = torch.bmm(torch.bmm(images.expand(len(individuals), -1, -1), w_in).relu_(), w_out)
        return reward(logits.transpose(1, 2), labels, self.temperature).mean(dim=1)

    def rewards(self, images: Tensor, labels: Tensor) -> Tensor:
        """``delta_x`` of every individual, ``[N]`` float64."""
        size = AT_ONCE[images.device.type]
        tiles = (range(at, min(at + size, self.N)) for at in range(0, self.N, size))
        return torch.cat([self.dense_rewards(tile, images, labels) for tile in tiles]).double()


class DenseEvolution(NetworkEvolution):
    """Evolution of alleles in it."""

    environment_type = DenseEnvironment


def best_setting(start: Setting, judge: Callable[[Setting], float]) -> tuple[Setting, float]:
    """From a setting to its best neighbour, for as long as there is a better; and how good the last one is."""
    judge, best = cache(judge), start
    while (better := max([best, *best.neighbours()], key=judge)) != best:
        best = better
    return best, judge(best)


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy ``[N]`` of ``logits: [N, B, C]``."""
    each = cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none")
    return each.view(len(logits), -1).mean(dim=1)
