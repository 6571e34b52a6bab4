"""Forward-forward (Hinton 2022, arXiv 2212.13345): no backward pass, a loss for each layer.

The label takes the place of the first pixels. A layer's goodness is the mean square of its activity; with the right
label it should be above ``theta``, with a wrong one below::

    L_i = softplus(theta - G_i(right)) + softplus(G_i(wrong) - theta),    G_i = mean over units of h_i^2

Each layer goes down the gradient of its own loss, and sees the activity below it scaled to the same length. The network
answers with the label for which the sum of its layers' goodness is largest: a pass for each class. (Hinton's goodness
is the sum of squares, his answer leaves the first layer out, and his wrong labels are those that are likely.)
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute, send
from nne.training.errors import require
from nne.training.seeding import generator
from nne.zoo.config import ForwardForwardConfig
from nne.zoo.layers import Layers, Need, outer


def scaled(h: Tensor) -> Tensor:
    """Each row with a mean square of 1, whatever its own was (a row of zeros stays)."""
    return h / (h.square().mean(dim=1, keepdim=True).sqrt() + 1e-4)


def labelled(images: Tensor, label: Tensor) -> Tensor:
    """``[B, inputs]`` with one-hot labels ``[B, C]`` in place of the first pixels."""
    return torch.cat([label.to(images.dtype), images[:, label.shape[1] :]], dim=1)


def summed_goodness(weights: Iterable[Tensor], images: Tensor, classes: int) -> Tensor:
    """``[B, C]``: for each class as a label, the sum of the goodness of all layers, given their weights."""
    answers, weights = [], list(weights)
    for one_class in torch.eye(classes, device=images.device):
        h, total = labelled(images, one_class.expand(len(images), -1)), images.new_zeros(())
        for w in weights:
            h = (scaled(h) @ w.T).relu()
            total = total + h.square().mean(dim=1)
        answers.append(total)
    return torch.stack(answers, dim=1)


class SumOfGoodness(nn.Module):
    """A network that answers with the class whose label is best."""

    def __init__(self, weights: list[Tensor], classes: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(w.detach().float().cpu().clone() for w in weights)
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        """``[B, C]`` of images ``[B, inputs]``."""
        return summed_goodness(self.weights, images, self.classes)


class ForwardForward(Layers):
    """Every hidden layer learns by itself; the output layer is not used."""

    needs = frozenset({Need.LABELS, Need.SECOND_PASS})

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        super().__init__(config, data, compute)
        self.rule: ForwardForwardConfig = config.learner
        inputs = self.images.shape[1]
        require(inputs > self.classes, f"learner=forward_forward puts {self.classes} labels into {inputs} pixels")

    def changes(self, images: Tensor, labels: Tensor, step: int) -> tuple[list[Tensor], None]:
        """The gradient of each layer's own loss; no answer, which would take a pass for each class."""
        other = torch.randint(1, self.classes, labels.shape, generator=generator(self.seed, "wrong labels", step))
        wrong = (labels + send(other, labels.device)) % self.classes
        right_h, wrong_h = (labelled(images, self.label(each)) for each in (labels, wrong))
        changes = []
        for w in self.weights[:-1]:
            below = torch.cat([scaled(right_h), scaled(wrong_h)])
            h = (below @ w.T).relu()
            goodness = h.square().mean(dim=1)
            sign = torch.ones_like(goodness)
            sign[: len(images)] = -1
            slope = sign * (sign * (goodness - self.rule.threshold)).sigmoid()
            changes.append(2 * outer(slope[:, None] * h * (2 / h.shape[1]), below))
            right_h, wrong_h = torch.split(h, len(images))
        return [*changes, torch.zeros_like(self.weights[-1])], None

    def logits(self, images: Tensor) -> Tensor:
        """For each class, the sum of goodness."""
        return summed_goodness(self.weights[:-1], images, self.classes)

    def as_module(self) -> nn.Module:
        """The hidden layers."""
        return SumOfGoodness(self.weights[:-1], self.classes)
