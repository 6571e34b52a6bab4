"""Networks of many shapes, for Hypothesis, and what they must compute: plain dense float64."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from nne.fitness import AlleleMeans, allele_means, carrier_sums
from nne.genome import draw, initial_frequencies
from nne.population.base import Networks
from nne.population.weights import WeightMatrix, sparse_weight_matrix
from nne.training.models.network import Topology, sparse_topology
from nne.training.parts import NetworkConfig


@dataclass(frozen=True)
class Case:
    """A network's graph, how genes are expressed in it, allele frequencies ``p: [n]``, and ``images: [B, inputs]``."""

    topology: Topology
    W: WeightMatrix
    p: Tensor
    images: Tensor
    seed: int

    @property
    def seen(self) -> Tensor:
        """Pixels that are not zero in every image."""
        return self.images.amax(dim=0) > 0

    def genotypes(self, individuals: int) -> Tensor:
        """``x: [individuals, n]``."""
        return draw(self.p, self.seed, 0, range(individuals))


def make(
    inputs: int,
    hidden: int | list[int],
    classes: int,
    probability: float,
    genes: int,
    beta: float,
    images: int,
    seed: int,
    g: str,
) -> Case:
    topology = sparse_topology(inputs, NetworkConfig(hidden, probability), classes, seed)
    W = sparse_weight_matrix(topology.links, genes, beta, seed, g)
    return Case(topology, W, initial_frequencies(genes, seed), random_images(images, inputs, seed), seed)


def cases(
    expressions: Sequence[str], images: int = 20, hidden: st.SearchStrategy[int | list[int]] | None = None
) -> st.SearchStrategy[Case]:
    """Any shape, of up to so many images; one hidden layer unless told otherwise."""
    return st.builds(
        make,
        inputs=st.integers(1, 30),
        hidden=st.integers(1, 25) if hidden is None else hidden,
        classes=st.integers(2, 11),
        probability=st.floats(0.02, 1),
        genes=st.integers(1, 60),
        beta=st.floats(0.01, 1),
        images=st.integers(1, images),
        seed=st.integers(0, 10**6),
        g=st.sampled_from(list(expressions)),
    )


def means_of(x: Tensor, fitness: Tensor, tile: int = 64) -> AlleleMeans:
    """``nne.fitness.allele_means`` of the population ``x: [N, n]``."""
    return allele_means(fitness, lambda rows: carrier_sums(x.split(tile), rows))


def random_images(count: int, inputs: int, seed: int) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.rand(count, inputs, generator=stream) * (torch.rand(count, inputs, generator=stream) < 0.3)


def dense_logits(topology: Topology, W: WeightMatrix, x: Tensor, images: Tensor, cap: int | None = None) -> Tensor:
    """Each individual's network in full, one at a time, in float64: ``[N, C, B]``."""
    result = []
    for w in W.g(x.double() @ W.dense().T):
        h, start = images.double(), 0
        for layer in topology.layers:
            full = torch.zeros(layer.sources, layer.units, dtype=torch.float64)
            full[layer.source, layer.unit] = w[start : start + len(layer.unit)]
            h, start = (h @ full).relu(), start + len(layer.unit)
            if cap:
                least = h.sort(dim=1, descending=True).values[:, cap - 1 : cap]
                level = ((h - least).abs() < 1e-5 * h.max()).sum(dim=1, keepdim=True)
                assume(bool(((level == 1) | (least == 0)).all()))  # who fires must not hang on rounding
                h = torch.where(h >= least, h, 0)
        result.append((h @ w[start:].view(-1, topology.classes)).T)
    return torch.stack(result)


def logits_of(population: Networks, x: Tensor, images: Tensor) -> Tensor:
    """All logits of a population, put together from its tiles."""
    whole = torch.zeros(len(x), population.classes, len(images))
    for who, which, part in population.evaluate(lambda tile: x[tile.start : tile.stop], range(len(x)), images):
        whole[who.start : who.stop, :, which] = part
    return whole
