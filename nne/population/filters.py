"""Development: the genes of a filter paint it at many places, and each class reads its map through genes of its own.

Hidden units stand in maps: unit ``(f, a, b)`` looks at the field of ``r x r`` pixels at place ``(a, b)`` of a grid. Its
weights there are a sum of patterns over the field, one for each gene of the filter ``f`` that is 1, the same at every
place; and the weight by which class ``c`` hears it is a sum of patterns over the map, one for each gene of ``(f, c)``.
A second layer's filters look at fields of all maps of the first, and have genes of their own for each. Patterns are
random numbers made smooth by a Gaussian; those over a field sum to zero. So the weights are ``W x`` with a fixed sparse
random ``W`` as in Sec. 2, in which many links have numbers and genes in common.

Pixels are centred by their mean over the training images: a link to one more pixel, which is always 1, takes from a
unit what it hears of the mean image, so that pixels that are 0 stay so. If weights are ``g(W x)``, no such link could,
and the mean is taken from the images themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nne.parts import parts_by_class
from nne.population.weights import WeightMatrix, chosen_expression
from nne.training.models.filters import over_maps, seen_by, smooth_patterns
from nne.training.models.network import Edges, Topology
from nne.training.parts import NetworkConfig
from nne.training.seeding import generator


def filter_topology(inputs: int, network: NetworkConfig, classes: int, mean: Tensor | None = None) -> Topology:
    """Each unit's field, of every map below.

    Without a ``mean`` that is taken from images, the first layer also sees a pixel that is always 1, ``inputs``.
    """
    layers: list[Edges] = []
    sources, maps = inputs, 1
    for grid, seen in zip(network.grids, seen_by(inputs, network), strict=True):
        cells = over_maps(seen, sources, maps)
        lit = [] if layers or mean is not None else [torch.full((len(cells), 1), inputs)]
        source = torch.cat([cells, *lit], dim=1).repeat(grid.filters, 1)
        units, links = source.shape
        unit = torch.arange(units).repeat_interleave(links)
        layers.append(Edges(units, maps * sources + len(lit), unit, source.flatten()))
        sources, maps = grid.places**2, grid.filters
    return Topology(tuple(layers), classes, lit=mean is None, mean=mean)


@dataclass(frozen=True)
class Patterns:
    """What each gene paints.

    fields: layer by layer, ``[F, K, r^2, genes]`` float64; each pattern sums to zero. A filter of the first layer is
        one field, ``K = 1``, the same at every place, or as many as places (``network.shared``); of the second, one for
        each map below.
    maps: ``[F, C, places^2, genes of a filter and class]`` float64, over those of the last layer.
    """

    fields: list[Tensor]
    maps: Tensor

    @property
    def n(self) -> int:
        """Genes: those of the filters, layer by layer, then those of each class, filter by filter."""
        return self.hidden + self.maps[:, :, 0].numel()

    @property
    def hidden(self) -> int:
        """Those of the filters."""
        return sum(painted[:, :, 0].numel() for painted in self.fields)

    def of_filters(self, x: Tensor) -> list[Tensor]:
        """The genes of each filter, layer by layer ``[F, K, N, genes]``, in genotypes ``x: [N, n]``."""
        sizes = [painted[:, :, 0].shape for painted in self.fields]
        layers = torch.split(x[:, : self.hidden], [size.numel() for size in sizes], dim=1)
        return [layer.view(len(x), *size).movedim(0, 2) for layer, size in zip(layers, sizes, strict=True)]

    def of_classes(self, x: Tensor) -> Tensor:
        """Those of each filter and class, ``[F, C, N, genes]``."""
        filters, classes, _, genes = self.maps.shape
        return x[:, self.hidden :].view(len(x), classes, filters, genes).permute(2, 1, 0, 3)


def drawn_patterns(
    network: NetworkConfig, filter_genes: Sequence[int], readout_genes: int, smooth: float, classes: int, seed: int
) -> Patterns:
    """Patterns from a seed.

    Args:
        filter_genes: layer by layer, of each filter for each map below; if not shared, of each of its fields.
        readout_genes: of each pair of a filter and a class.
        smooth: sd of the Gaussian, in pixels and in places.
    """
    stream, last = generator(seed, "patterns"), network.grids[-1]

    def over(side: int, genes: int, filters: int, sheets: int) -> Tensor:
        drawn = [smooth_patterns(side, genes, smooth, stream) for _ in range(filters * sheets)]
        return torch.stack(drawn).view(filters, sheets, side**2, genes)

    below = network.fields, *(grid.filters for grid in network.grids[:-1])
    layers = zip(network.grids, filter_genes, below, strict=True)
    fields = [over(grid.field, genes, grid.filters, sheets) for grid, genes, sheets in layers]
    maps = over(last.places, readout_genes, last.filters, classes)
    return Patterns([painted - painted.mean(dim=2, keepdim=True) for painted in fields], maps)


def painted_matrix(
    patterns: Patterns, network: NetworkConfig, mean: Tensor, expression: str = "identity"
) -> WeightMatrix:
    """``W`` of ``filter_topology``, and ``g``; ``mean: [inputs]`` is the mean training image.

    Only with the identity is there a row for the pixel that is always 1.
    """
    n = torch.arange(patterns.n)[None]
    which, values = [], []
    first, *second = seen_by(len(mean), network)
    of_first, *of_second = patterns.of_filters(n)
    for painted, genes in zip(patterns.fields[0], of_first[:, :, 0], strict=True):
        of_mean = -(mean.double()[first][:, None] @ painted)  # [places, 1, genes], what the mean image would excite
        lit = [of_mean] if expression == "identity" else []
        values.append(torch.cat([painted.expand(len(first), -1, -1), *lit], dim=1))
        which.append(genes[:, None].expand_as(values[-1]))
    for seen, of_layer, layer in zip(second, patterns.fields[1:], of_second, strict=True):
        for painted, genes in zip(of_layer, layer[:, :, 0], strict=True):
            values.append(painted.flatten(0, 1).expand(len(seen), -1, -1))  # [places, maps r^2, genes]
            which.append(genes[:, None].expand_as(painted).flatten(0, 1).expand_as(values[-1]))
    for read, genes in zip(patterns.maps, patterns.of_classes(n)[:, :, 0], strict=True):
        values.append(read.transpose(0, 1))  # [places, C, genes]
        which.append(genes.expand_as(values[-1]))
    counts = torch.cat([torch.full((v.numel() // v.shape[-1],), v.shape[-1]) for v in values])
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    touching, painting = (torch.cat([*map(torch.flatten, each)]) for each in (which, values))
    return WeightMatrix(patterns.n, offsets, touching, painting, chosen_expression(expression))


def part_of(patterns: Patterns, credit: str) -> Tensor:
    """``[n]``, whose fitness counts for each gene (``Evolution(part=...)``).

    With ``credit="class"`` as ``parts_by_class``. With ``"module"``: a row for each filter, layer by layer, or for each
    of its fields, if it is not shared; then, class by class, one for those by which it reads each filter.
    """
    filters, classes, _, readout_genes = patterns.maps.shape
    if credit == "class":
        return parts_by_class(patterns.hidden, classes, filters * readout_genes)
    first, *second = patterns.fields
    sizes = [first.shape[3]] * first[:, :, 0, 0].numel()
    for layer in second:
        sizes += [layer[0, :, 0].numel()] * len(layer)
    sizes += [readout_genes] * (filters * classes)
    return torch.arange(1, 1 + len(sizes)).repeat_interleave(torch.tensor(sizes))
