"""The order in which a population's weights are made and used.

Every individual shares the graph; only the weights differ. So links are laid out by hidden unit: units are sorted
by in-degree and cut into blocks, each block padded to its own largest in-degree K, and layer 1 of a whole
population becomes one dense batched product per block over the ~10 % of links that exist.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.network import Topology

ABSENT = -1


@dataclass(frozen=True)
class Layout:
    """Every block's slots, then the output layer.

    ``slots: [slots]`` the link of each slot, ``ABSENT`` where it is padding.
    ``blocks``: for each block of hidden units, ``[units, K]`` the input pixel of each slot, or ``inputs`` (a row of
    zeros) where it is padding.
    """

    slots: Tensor
    blocks: tuple[Tensor, ...]


def by_hidden_unit(topology: Topology, seen: Tensor, block_units: int) -> Layout:
    """Lay the links out by hidden unit, leaving out edges from pixels that are never ``seen: [inputs]``.

    An edge from a pixel that is zero in every image carries nothing, so the network computes the same without it.
    """
    edge = seen[topology.pixel].nonzero()[:, 0]
    unit, pixel = topology.unit[edge], topology.pixel[edge]
    degree = torch.bincount(unit, minlength=topology.hidden)
    start = degree.cumsum(0) - degree
    rank = torch.arange(len(unit)) - start[unit]

    order = degree.argsort(stable=True)
    slots, blocks = [], []
    for units in torch.split(order, block_units):
        width = max(int(degree[units].max()), 1)
        place = torch.full((topology.hidden,), ABSENT)
        place[units] = torch.arange(len(units))
        mine = place[unit] != ABSENT
        at = place[unit[mine]], rank[mine]
        link = torch.full((len(units), width), ABSENT)
        link[at] = edge[mine]
        pixels = torch.full((len(units), width), topology.inputs)
        pixels[at] = pixel[mine]
        slots.append(link.flatten())
        blocks.append(pixels)
    output = len(topology.unit) + torch.arange(topology.hidden * topology.classes).view(topology.hidden, -1)
    slots.append(output[order].flatten())
    return Layout(torch.cat(slots), tuple(blocks))
