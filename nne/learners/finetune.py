"""NNE with output layer training: individuals drawn from an evolved ``p`` go on to learn (Sec. 3.1).

Their genes give the initial value of every weight; the hidden layer stays so, and the output layer learns by SignSGD
(Eq. (5)). Several individuals learn at once, each by itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nne.genome import draw
from nne.learners.evolved import Evolved, evolved
from nne.population.factory import blueprint
from nne.training.baselines.gradient import GradientDescent
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute, require_memory, send
from nne.training.errors import require
from nne.training.learner import Metrics
from nne.training.models.network import fire
from nne.training.models.output_layer import OutputLayer
from nne.training.models.plain import hidden
from nne.training.seeding import generator


class Finetune(GradientDescent):
    """``M`` individuals; a step is one minibatch, shown to each of them."""

    step_name = "iteration"
    charts: ClassVar[dict[str, list[str]]] = {
        **GradientDescent.charts,
        "accuracy": ["test/accuracy", "test/initial", "train/accuracy"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        super().__init__(config, data, compute, inherited_network(config, data))
        self.evolved = config.learner.evolved
        self.initial = self.accuracies(data.test_images, data.test_labels)

    def step(self) -> Metrics:
        """One minibatch, drawn anew."""
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "minibatch", self.steps))
        return self.descend([send(order[: self.learner_config.batch], self.device)])

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Mean and sd over individuals, and the mean on the test images before the first step."""
        return {**super().evaluate(images, labels), "test/initial": float(self.initial.mean())}

    def summary(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """The accuracy of every individual before the first step and now."""
        before, after = self.initial, self.accuracies(images, labels)
        return {
            "test_accuracy": float(after.mean()),
            "before": {"mean": float(before.mean()), "sd": float(before.std()), "each": before.tolist()},
            "after": {"mean": float(after.mean()), "sd": float(after.std()), "each": after.tolist()},
            "evolved": self.evolved,
        }


def inherited_network(config: Config, data: Dataset) -> OutputLayer:
    """Individuals with all their weights from their genes: ``W x``, on the graph that ``p`` evolved on.

    Logits are divided by their spread over classes, as in evolution's fitness; predictions do not depend on it.

    Raises:
        UserError: the run is not of evolution, or evolved for another task or another network.
    """
    individuals = config.learner.individuals
    source = evolution_for(config, data)
    network, device = source.config.network, data.train_images.device
    assert network is not None
    graph, W = blueprint(source.config, data)
    cells = sum(layer.units * layer.sources for layer in graph.layers)
    widest = max(graph.first.sources, *network.layers)
    needed = 8 * individuals * (cells + widest * len(data.train_labels))
    require_memory(needed, device, "learner.individuals", individuals)
    x = draw(source.p, config.seed, source.generation, range(individuals), stream="lifetime")
    *below, outputs = (matrix.to(device) for matrix in graph.matrices(W.weights(x).float().T))
    layer = OutputLayer(Inherited(below, network.cap), outputs.contiguous())
    with torch.no_grad():
        spread = layer(layer.see(data.train_images)).std(dim=2).mean(dim=1)
        layer.w.div_(spread.clamp(min=1e-6)[:, None, None])
    return layer


def evolution_for(config: Config, data: Dataset) -> Evolved:
    """The evolution that ``learner.evolved`` names.

    Raises:
        UserError: it evolved on other data, for other classes, or another network.
    """
    where = f"learner.evolved={config.learner.evolved}"
    source = evolved(Path(config.learner.evolved or ""), where)
    for what, then, now in (
        ("data.classes", source.config.images.classes, config.images.classes),
        ("network", source.config.network, config.network),
        ("the data set", source.dataset, data.name),
    ):
        require(then == now, f"{where} does not fit: {what} was {then} there, is {now} here")
    plain = not source.config.learner.centre_logits
    require(plain, f"{where} does not fit: output layers have no bias; evolve with learner.centre_logits=false")
    return source


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
        """The hidden layers of the first individual, as modules."""
        return [part for matrix in self.matrices for part in hidden(matrix[0], self.cap)]
