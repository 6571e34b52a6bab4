"""The numbers of a population: how its individuals do, and how the networks do that stand for all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nne.learners.config import EvolutionConfig
from nne.population.base import Networks
from nne.training.learner import tally

CHUNK = 1000  # images at a time, of networks that are written out
CALIBRATE = 1000  # training images over which the logits of a network that is tested are centred, if they are


def centred_by(config: EvolutionConfig, images: Tensor) -> Tensor | None:
    """The training images over which each network's logits are centred when it is tested, if they are."""
    return images[:: max(len(images) // CALIBRATE, 1)] if config.centre_logits else None


@dataclass(frozen=True)
class Performance:
    """Accuracies as fractions.

    individuals: ``[count]``, each genotype drawn from ``p``: an NNE is an individual, so their mean is the headline.
    modal: of the commonest genotype, ``x = 1[p > 1/2]``.
    mean_weights: of the network ``W p``.
    vote: of the softmax averaged over the individuals.
    confusion: ``[C, C]``, how often an image of the row's class is called the column's, averaged over individuals.
    """

    individuals: Tensor
    modal: float
    mean_weights: float
    vote: float
    confusion: Tensor

    @property
    def mean(self) -> float:
        """Mean over individuals."""
        return float(self.individuals.mean())

    @property
    def sd(self) -> float:
        """Standard deviation over individuals."""
        return float(self.individuals.std())


def measure(
    population: Networks,
    p: Tensor,
    draw: Callable[[range], Tensor],
    count: int,
    images: Tensor,
    labels: Tensor,
    temperature: float,
    centre_by: Tensor | None = None,
) -> Performance:
    """Evaluate ``count`` individuals, the modal genotype and the mean network.

    Args:
        draw: gives the genotypes ``x: [len(who), n]`` bool of a range of individuals.
        images, labels: ``[B, inputs]`` and ``[B]``.
        temperature: of the softmax that votes.
        centre_by: images over which each network's logits are centred, class by class, if they are.
    """
    stand_for_all = population.dense_forward(torch.stack([(p > 0.5).to(p.dtype), p]))
    zero = 0 if centre_by is None else stand_for_all(centre_by).mean(dim=2, keepdim=True)
    answers = torch.cat([(stand_for_all(some) - zero).argmax(dim=1) for some in torch.split(images, CHUNK)], dim=1)
    modal, mean_weights = (answers == labels).double().mean(dim=1).tolist()

    classes = population.classes
    right = torch.zeros(count, dtype=torch.float64, device=labels.device)
    votes = torch.zeros(classes, len(labels), dtype=torch.float64, device=labels.device)
    confusion = torch.zeros(classes, classes, dtype=torch.float64, device=labels.device)
    zeros = torch.zeros(count, classes, 1, device=labels.device)
    if centre_by is not None:
        for individuals, _, logits in population.evaluate(draw, range(count), centre_by):
            zeros[individuals.start : individuals.stop] += logits.sum(dim=2, keepdim=True) / len(centre_by)
    for individuals, which, logits in population.evaluate(draw, range(count), images):
        logits = logits - zeros[individuals.start : individuals.stop]
        predicted = logits.argmax(dim=1)
        right[individuals.start : individuals.stop] += (predicted == labels[which]).sum(dim=1)
        votes[:, which] += torch.softmax(logits / temperature, dim=1).sum(dim=0)
        confusion += tally(labels[which], predicted, classes)
    vote = float((votes.argmax(dim=0) == labels).double().mean())
    return Performance(right / len(labels), modal, mean_weights, vote, confusion / count)
