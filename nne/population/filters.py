"""Development: the genes of a filter paint it at many places, and each class reads its map through genes of its own.

Hidden units stand in maps: unit ``(f, a, b)`` looks at the field of ``r x r`` pixels at place ``(a, b)`` of a grid. Its
weights there are a sum of patterns over the field, one for each gene of the filter ``f`` that is 1, the same at every
place; and the weight by which class ``c`` hears it is a sum of patterns over the map, one for each gene of ``(f, c)``.
Patterns are random numbers made smooth by a Gaussian; those over a field sum to zero. So the weights are ``W x`` with a
fixed sparse random ``W`` as in Sec. 2, in which many links have numbers and genes in common.

Pixels are centred by their mean over the training images: a link to one more pixel, which is always 1, takes from a
unit what it hears of the mean image.
"""

import torch
from torch import Tensor

from nne.population.weights import WeightMatrix
from nne.training.models.filters import fields, smooth_patterns
from nne.training.models.network import Edges, Topology
from nne.training.parts import NetworkConfig
from nne.training.seeding import generator


def filter_topology(inputs: int, network: NetworkConfig, classes: int) -> Topology:
    """Each unit's field, and the pixel that is always 1, whose number is ``inputs``."""
    assert network.filters
    seen = fields(inputs, network)
    seen = torch.cat([seen, torch.full((len(seen), 1), inputs)], dim=1).repeat(network.filters, 1)
    units, links = seen.shape
    edges = Edges(units, inputs + 1, torch.arange(units).repeat_interleave(links), seen.flatten())
    return Topology((edges,), classes, lit=True)


def painted_matrix(
    network: NetworkConfig, filter_genes: int, class_genes: int, smooth: float, mean: Tensor, classes: int, seed: int
) -> WeightMatrix:
    """``W`` of ``filter_topology``.

    Args:
        filter_genes: of each filter.
        class_genes: of each class, for each filter.
        smooth: sd of the Gaussian, in pixels and in places.
        mean: ``[inputs]``, the mean training image.
    """
    assert network.filters
    seen, places = fields(len(mean), network), network.places**2
    stream = generator(seed, "patterns")
    which, values = [], []
    for f in range(network.filters):
        patterns = smooth_patterns(network.field, filter_genes, smooth, stream)
        patterns = patterns - patterns.mean(dim=0)
        of_mean = -(mean.double()[seen] @ patterns)  # [places, genes], what the mean image would excite
        values.append(torch.cat([patterns.expand(places, -1, -1), of_mean[:, None]], dim=1))
        which.append(torch.arange(f * filter_genes, (f + 1) * filter_genes).expand_as(values[-1]))
    first = network.filters * filter_genes
    read, by = [], []
    for f in range(network.filters):
        maps = [smooth_patterns(network.places, class_genes, smooth, stream) for _ in range(classes)]
        read.append(torch.stack(maps, dim=1))  # [places, C, genes]
        own = first + (torch.arange(classes)[:, None] * network.filters + f) * class_genes + torch.arange(class_genes)
        by.append(own.expand_as(read[-1]))
    counts = torch.cat([torch.full((v.numel() // v.shape[-1],), v.shape[-1]) for v in (*values, *read)])
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    touching = torch.cat([genes.flatten() for genes in (*which, *by)])
    n = first + network.filters * classes * class_genes
    return WeightMatrix(n, offsets, touching, torch.cat([v.flatten() for v in (*values, *read)]))


def part_of(network: NetworkConfig, filter_genes: int, class_genes: int, classes: int) -> Tensor:
    """``[n]``, whose fitness counts for each gene: 0, everybody's, for filters; ``1 + c`` for those of class ``c``."""
    assert network.filters
    hidden = torch.zeros(network.filters * filter_genes, dtype=torch.long)
    of_class = network.filters * class_genes
    return torch.cat([hidden, torch.arange(1, classes + 1).repeat_interleave(of_class)])
