"""The order in which a population's weights are made and used.

Every individual shares the graph; only the weights differ. So the links into the first hidden layer are laid out by
hidden unit: units are sorted by in-degree and cut into blocks, each block padded to its own largest in-degree K, and
layer 1 of a whole population becomes one dense batched product per block over the ~10 % of links that exist. What the
layers above see differs from individual to individual, so there the matrices are full, with zeros for absent links.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nne.training.models.network import Edges, Topology

ABSENT = -1


@dataclass(frozen=True)
class Layout:
    """Every block's slots, then those of the layers above.

    ``slots: [slots]`` the link of each slot, ``ABSENT`` where it is padding.
    ``blocks``: for each block of hidden units, ``[units, K]`` the input pixel of each slot, or ``inputs`` (a row of
    zeros) where it is padding.
    ``above``: the shape ``(sources, units)`` of each layer above; its slots are in that order.
    """

    slots: Tensor
    blocks: tuple[Tensor, ...]
    above: tuple[tuple[int, int], ...]


def by_hidden_unit(topology: Topology, seen: Tensor, block_units: int) -> Layout:
    """Lay the links out, leaving out edges from pixels that are never ``seen: [inputs]``.

    An edge from a pixel that is zero in every image carries nothing, so the network computes the same without it.
    """
    order, links, blocks = _in_blocks(topology.first, seen, block_units)
    above = [cells.T for cells in topology.slots()[1:]]
    above[0] = above[0][order]
    slots = torch.cat([part.flatten() for part in (*links, *above)])
    return Layout(slots, tuple(blocks), tuple((len(cells), cells.shape[1]) for cells in above))


def in_steps(topology: Topology, seen: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """For one hidden layer: the ``seen`` edges of every unit, filled up to whole steps of ``step``, then all outputs.

    The order of a unit's edges is free. Tensor cores read pixels eight edges at a time, from shared memory whose banks
    a pixel's place modulo 8 decides, and as often as edges of one remainder are among them: so some eights have each
    remainder once at most, as many as there can be, and the others twice.

    Returns:
        ``slots``, as in ``Layout``; ``place: [steps, step]``, which of the seen pixels an edge comes from, their number
        where it is padding; and the first step of each unit, ``[units + 1]``.
    """
    layer = topology.first
    pixel = torch.where(seen, seen.cumsum(0) - 1, -1)[layer.source]
    edge = (pixel >= 0).nonzero()[:, 0]
    remainder = pixel[edge] % 8
    order = (layer.unit[edge] * 8 + remainder).argsort(stable=True)
    edge, remainder = edge[order], remainder[order]
    unit = layer.unit[edge]
    sizes = torch.bincount(unit * 8 + remainder, minlength=8 * layer.units).view(-1, 8)
    first = torch.cat([sizes.new_zeros(1), ((sizes.sum(dim=1) + step - 1) // step).cumsum(0)])
    eights = first.diff() * (step // 8)
    once = _with_each_remainder_once(sizes, eights)
    rank = torch.arange(len(edge)) - (sizes.flatten().cumsum(0) - sizes.flatten())[unit * 8 + remainder]
    dealt_once = sizes.minimum(once[:, None])
    dealt_twice = sizes - dealt_once
    before_once, before_twice = (dealt.cumsum(1) - dealt for dealt in (dealt_once, dealt_twice))
    own = unit, remainder
    among_once = rank < dealt_once[own]
    turn = rank + torch.where(among_once, before_once[own], before_twice[own] - dealt_once[own])
    players = torch.where(among_once, once[unit], (eights - once)[unit])
    eight = turn % players + torch.where(among_once, 0, once[unit])
    cells = int(first[-1]) * step
    at = first[unit] * step + eight * 8 + turn // players
    slots = torch.full((cells,), ABSENT).index_put((at,), edge)
    place = torch.full((cells,), int(seen.sum())).index_put((at,), pixel[edge])
    return torch.cat([slots, torch.arange(topology.edges, topology.links)]), place.view(-1, step), first


def _with_each_remainder_once(sizes: Tensor, eights: Tensor) -> Tensor:
    """How many of a unit's ``eights: [units]`` can do with no remainder twice, ``[units]``.

    Args:
        sizes: ``[units, 8]``, the edges of each remainder.
    """
    most = torch.zeros_like(eights)
    for once in range(1, int(eights.max()) + 1):
        left = (sizes - once).clamp(min=0)
        others = eights - once
        fits = (others >= 0) & (left.sum(dim=1) <= 8 * others) & (left <= 2 * others[:, None]).all(dim=1)
        most = torch.where(fits, once, most)
    return most


def _in_blocks(layer: Edges, seen: Tensor, block_units: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The order of the first hidden layer's units; then the links and the pixels of each block, ``[units, K]``."""
    edge, degree, rank = _seen_edges(layer, seen)
    unit, pixel = layer.unit[edge], layer.source[edge]
    order = degree.argsort(stable=True)
    links, blocks = [], []
    for units in torch.split(order, block_units):
        width = max(int(degree[units].max()), 1)
        place = torch.full((layer.units,), ABSENT)
        place[units] = torch.arange(len(units))
        of_unit = place[unit] != ABSENT
        at = place[unit[of_unit]], rank[of_unit]
        link = torch.full((len(units), width), ABSENT)
        link[at] = edge[of_unit]
        pixels = torch.full((len(units), width), layer.sources)
        pixels[at] = pixel[of_unit]
        links.append(link)
        blocks.append(pixels)
    return order, links, blocks


def _seen_edges(layer: Edges, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The edges from ``seen`` pixels, how many each unit has, and the place of each among those of its unit."""
    edge = seen[layer.source].nonzero()[:, 0]
    unit = layer.unit[edge]
    degree = torch.bincount(unit, minlength=layer.units)
    return edge, degree, torch.arange(len(unit)) - (degree.cumsum(0) - degree)[unit]
