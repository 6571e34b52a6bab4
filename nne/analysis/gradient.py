"""How near a generation's step comes to the gradient of mean fitness (Lemma 1), estimated with a large population.

By Lemma 1 the gradient of mean fitness in ``p(i)`` is ``f(i) - f_bar(i)``; what eq. (3) follows for weak selection is
the natural gradient, ``p(i) (1 - p(i)) (f(i) - f_bar(i))``. A sample of them has noise. So the large population comes
in two halves: with ``g_1`` and ``g_2`` their estimates, ``<g_1, g_2>`` is ``|g|^2`` without bias, and so is
``<step, (g_1 + g_2) / 2>`` for ``<step, g>``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nne.fitness import allele_means, carrier_sums
from nne.genome import draw
from nne.learners.network import NetworkEvolution


class Alignment(NamedTuple):
    """Cosines with a generation's step, and of the two halves' estimates of the natural gradient with each other."""

    gradient: float
    natural: float
    reliability: float


def alignment(learner: NetworkEvolution, p: Tensor, generation: int, individuals: int) -> Alignment:
    """Of the step that the learner would take from ``p: [n]`` in a generation.

    The step is of the learner's own population on its own minibatch; the gradient is of mean fitness on all training
    images. The learner is left at the next generation.

    Args:
        individuals: in the large population, both halves together.
    """
    halves = [gradient(learner, p, generation, range(i * individuals // 2, (i + 1) * individuals // 2)) for i in (0, 1)]
    evolution = learner.evolution
    evolution.p = p.to(evolution.p)
    evolution.generation = generation
    learner.step()
    step, varying = evolution.p - p.to(evolution.p), p * (1 - p)
    first, second = (varying.to(step) * half for half in halves)
    return Alignment(cosine(step, *halves), cosine(step, first, second), plain_cosine(first, second))


def gradient(learner: NetworkEvolution, p: Tensor, generation: int, individuals: range) -> Tensor:
    """``f - f_bar: [n]`` in some individuals drawn from ``p`` for this purpose alone, on all training images."""
    device = learner.device

    def genotypes(tile: range) -> Tensor:
        chosen = range(individuals.start + tile.start, individuals.start + tile.stop)
        return draw(p.to(device), learner.seed, generation, chosen, stream="gradient")

    lived_in = learner.environment
    delta = lived_in.rewards_of(genotypes, len(individuals), lived_in.images, lived_in.labels)
    tiles = learner.population.tiles(range(len(individuals)))
    means = allele_means(learner.evolution.transform(delta), lambda rows: carrier_sums(map(genotypes, tiles), rows))
    return torch.where(means.polymorphic, means.f - means.f_bar, 0.0)


def cosine(step: Tensor, first: Tensor, second: Tensor) -> float:
    """Between a step and what ``first`` and ``second`` are independent estimates of; nan if those do not agree."""
    length = float(first @ second) ** 0.5 if float(first @ second) > 0 else float("nan")
    return float(step @ (first + second)) / 2 / (float(step.norm()) * length)


def plain_cosine(a: Tensor, b: Tensor) -> float:
    """Between two vectors as they are."""
    return float(a @ b / (a.norm() * b.norm()))
