"""NNE with output layer training: individuals are born of an evolved ``p``, and learn in their lifetime (Sec. 3.1).

Genes give every weight to begin with; the hidden layer stays as it was inherited, and the output layer learns by
SignSGD (Eq. (5)). Several individuals learn at once, each by itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nne.genome import draw
from nne.learners.config import LifetimeConfig
from nne.learners.evolved import Evolved, evolved
from nne.population.weights import sparse_weight_matrix
from nne.training.baselines.gradient import GradientDescent
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute, free_memory
from nne.training.errors import require
from nne.training.learner import Metrics
from nne.training.models.network import fire, sparse_topology
from nne.training.models.output_layer import OutputLayer
from nne.training.models.plain import hidden
from nne.training.seeding import generator


class Lifetime(GradientDescent):
    """``M`` individuals; a step is one minibatch, shown to each of them."""

    step_name = "iteration"
    charts: ClassVar[dict[str, list[str]]] = {
        **GradientDescent.charts,
        "accuracy": ["test/accuracy", "test/at_birth", "train/accuracy"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        own = config.learner
        assert isinstance(own, LifetimeConfig)
        super().__init__(config, data, compute, newborn(own, config, data))
        self.evolved = own.evolved
        self.at_birth = self.accuracies(data.test_images, data.test_labels)

    def step(self) -> Metrics:
        """One minibatch, drawn anew."""
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "minibatch", self.steps))
        return self.descend([order[: self.config.batch].to(self.device)])

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Mean and sd over individuals, and the mean that they were born with."""
        return {**super().evaluate(images, labels), "test/at_birth": float(self.at_birth.mean())}

    def summary(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """Every individual before and after."""
        born, grown = self.at_birth, self.accuracies(images, labels)
        return {
            "test_accuracy": float(grown.mean()),
            "at_birth": {"mean": float(born.mean()), "sd": float(born.std()), "each": born.tolist()},
            "grown": {"mean": float(grown.mean()), "sd": float(grown.std()), "each": grown.tolist()},
            "evolved": self.evolved,
        }


def newborn(own: LifetimeConfig, config: Config, data: Dataset) -> OutputLayer:
    """Individuals with all their weights from their genes: ``W x``, on the graph that ``p`` evolved on.

    Logits are divided by their spread over classes, as in evolution's fitness; predictions do not depend on it.

    Raises:
        UserError: the run is not of evolution, or evolved for another task or another network.
    """
    source = fitting(own, config, data)
    network, seed, genes = source.config.network, source.config.seed, source.config.learner
    classes, device = len(data.classes), data.train_images.device
    assert network is not None
    inputs = data.train_images.shape[1]
    graph = sparse_topology(inputs, network, classes, seed)
    cells = sum(layer.units * layer.sources for layer in graph.layers)
    widest = max(inputs, *network.layers)
    needed = 8 * own.individuals * (cells + widest * len(data.train_labels))
    free = free_memory(device)
    require(
        needed <= free,
        f"learner.individuals={own.individuals} need {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; "
        f"set it to at most {own.individuals * free // needed}",
    )
    W = sparse_weight_matrix(graph.links, genes.genes, network.beta, seed, genes.expression)
    x = draw(source.p, config.seed, source.generation, range(own.individuals), stream="lifetime")
    *below, outputs = (matrix.to(device) for matrix in graph.matrices(W.weights(x).float().T))
    layer = OutputLayer(Inherited(below, network.cap), outputs.contiguous())
    with torch.no_grad():
        spread = layer(layer.see(data.train_images)).std(dim=2).mean(dim=1)
        layer.w.div_(spread.clamp(min=1e-6)[:, None, None])
    return layer


@dataclass(frozen=True)
class Inherited:
    """The hidden layers of ``M`` individuals: a matrix ``[M, units, sources]`` for each, and the cap."""

    matrices: list[Tensor]
    cap: int | None

    def __call__(self, images: Tensor) -> Tensor:
        """``[M, B, units]`` of images ``[B, inputs]``."""
        h = images
        for matrix in self.matrices:
            h = fire(h @ matrix.transpose(1, 2), self.cap, dim=2)
        return h

    def layers(self) -> list[nn.Module]:
        """Of the first individual."""
        return [part for matrix in self.matrices for part in hidden(matrix[0], self.cap)]


def fitting(own: LifetimeConfig, config: Config, data: Dataset) -> Evolved:
    """The evolution to be born of; it must fit this run."""
    where = f"learner.evolved={own.evolved}"
    found = evolved(Path(own.evolved or ""), where)
    for what, then, now in (
        ("data.classes", found.config.images.classes, config.images.classes),
        ("network", found.config.network, config.network),
        ("the data set", found.dataset, data.name),
    ):
        require(then == now, f"{where} does not fit: {what} was {then} there, is {now} here")
    return found
