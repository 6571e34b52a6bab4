"""Development: the genes of a filter paint it at many places, and each class reads its map through genes of its own.

Hidden units stand in maps: unit ``(f, a, b)`` looks at the field of ``r x r`` pixels at place ``(a, b)`` of a grid. Its
weights there are a sum of patterns over the field, one for each gene of the filter ``f`` that is 1, the same at every
place; and the weight by which class ``c`` hears it is a sum of patterns over the map, one for each gene of ``(f, c)``.
Patterns are random numbers made smooth by a Gaussian; those over a field sum to zero. So the weights are ``W x`` with a
fixed sparse random ``W`` as in Sec. 2, in which many links have numbers and genes in common.

Pixels are centred by their mean over the training images: a link to one more pixel, which is always 1, takes from a
unit what it hears of the mean image.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Patterns:
    """What each gene paints.

    fields: ``[F, fields, r^2, genes of a field]`` float64; each sums to zero. A filter is one field, the same at every
        place, or as many as places (``network.shared``).
    maps: ``[F, C, places^2, genes of a filter and class]`` float64.
    """

    fields: Tensor
    maps: Tensor

    @property
    def n(self) -> int:
        """Genes: those of the filters, then those of each class, filter by filter."""
        return self.hidden + self.maps[:, :, 0].numel()

    @property
    def hidden(self) -> int:
        """Those of the filters."""
        return self.fields[:, :, 0].numel()

    def of_filters(self, x: Tensor) -> Tensor:
        """The genes of each filter, ``[F, fields, N, genes]``, in genotypes ``x: [N, n]``."""
        filters, count, _, genes = self.fields.shape
        return x[:, : self.hidden].view(len(x), filters, count, genes).movedim(0, 2)

    def of_classes(self, x: Tensor) -> Tensor:
        """Those of each filter and class, ``[F, C, N, genes]``."""
        filters, classes, _, genes = self.maps.shape
        return x[:, self.hidden :].view(len(x), classes, filters, genes).permute(2, 1, 0, 3)


def drawn_patterns(
    network: NetworkConfig, filter_genes: int, class_genes: int, smooth: float, classes: int, seed: int
) -> Patterns:
    """Patterns from a seed.

    Args:
        filter_genes: of each filter; if not shared, of each of its fields.
        class_genes: of each class, for each filter.
        smooth: sd of the Gaussian, in pixels and in places.
    """
    assert network.filters
    stream = generator(seed, "patterns")
    over_fields = [
        torch.stack([smooth_patterns(network.field, filter_genes, smooth, stream) for _ in range(network.fields)])
        for _ in range(network.filters)
    ]
    over_maps = [
        torch.stack([smooth_patterns(network.places, class_genes, smooth, stream) for _ in range(classes)])
        for _ in range(network.filters)
    ]
    return Patterns(torch.stack([p - p.mean(dim=1, keepdim=True) for p in over_fields]), torch.stack(over_maps))


def painted_matrix(patterns: Patterns, network: NetworkConfig, mean: Tensor) -> WeightMatrix:
    """``W`` of ``filter_topology``; ``mean: [inputs]`` is the mean training image."""
    seen, places = fields(len(mean), network), network.places**2
    n = torch.arange(patterns.n)
    of_filters, of_classes = patterns.of_filters(n[None])[:, :, 0], patterns.of_classes(n[None])[:, :, 0]
    which, values = [], []
    for painted, genes in zip(patterns.fields, of_filters, strict=True):
        of_mean = -(mean.double()[seen][:, None] @ painted)  # [places, 1, genes], what the mean image would excite
        values.append(torch.cat([painted.expand(places, -1, -1), of_mean], dim=1))
        which.append(genes[:, None].expand_as(values[-1]))
    for read, genes in zip(patterns.maps, of_classes, strict=True):
        values.append(read.transpose(0, 1))  # [places, C, genes]
        which.append(genes.expand_as(values[-1]))
    counts = torch.cat([torch.full((v.numel() // v.shape[-1],), v.shape[-1]) for v in values])
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    touching, painting = (torch.cat([*map(torch.flatten, each)]) for each in (which, values))
    return WeightMatrix(patterns.n, offsets, touching, painting)


def part_of(patterns: Patterns, credit: str) -> Tensor:
    """``[n]``, whose fitness counts for each gene (``Evolution(part=...)``).

    With ``credit="class"``: 0, everybody's, for filters; ``1 + c`` for those of class ``c``. With ``"module"``: a row
    for each filter, or for each of its fields; then, class by class, one for those by which it reads each filter.
    """
    filters, classes, _, class_genes = patterns.maps.shape
    fields = patterns.fields[:, :, 0, 0].numel()
    if credit == "class":
        hidden = torch.zeros(patterns.hidden, dtype=torch.long)
        return torch.cat([hidden, torch.arange(1, classes + 1).repeat_interleave(filters * class_genes)])
    sizes = torch.tensor([patterns.hidden // fields] * fields + [class_genes] * (filters * classes))
    return torch.arange(1, 1 + len(sizes)).repeat_interleave(sizes)
