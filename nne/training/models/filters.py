"""Filters on a grid of places, the same at each or not, under a full output layer: what gradients train of them."""

import torch
from torch import Tensor, nn

from nne.training.data.jitter import side_of
from nne.training.errors import require
from nne.training.models.network import fire, uniform
from nne.training.models.plain import hidden, linear
from nne.training.parts import Grid, NetworkConfig
from nne.training.seeding import generator

SMOOTH = 1.0  # pixels


def fields(side: int, grid: Grid, border: int = 0) -> Tensor:
    """The cells of every place's field on a map of ``side x side``, ``[places^2, field^2]``, inside a border.

    Raises:
        UserError: the map is too small for so large a field at so many places.
    """
    r, places = grid.field, grid.places
    room = side - 2 * border - r
    fits = room >= places - 1
    require(fits, f"network.field={r} at network.places={places} does not fit into images of {side} x {side} pixels")
    starts = torch.linspace(border, border + room, places).round().long()
    within = torch.arange(r)
    one_row = starts[:, None] + within
    cells = one_row[:, None, :, None] * side + one_row[None, :, None, :]
    return cells.reshape(places * places, r * r)


def seen_by(inputs: int, network: NetworkConfig) -> list[Tensor]:
    """What filters see, layer by layer: the first of the image, but for a border of one pixel; the second of each map.

    Raises:
        UserError: images are not square, or too small.
    """
    first, *second = network.grids
    return [fields(side_of(inputs), first, border=1), *(fields(first.places, grid) for grid in second)]


def over_maps(seen: Tensor, cells: int, maps: int) -> Tensor:
    """What fields ``seen: [places, r^2]`` see of each of some maps of so many cells, ``[places, maps r^2]``."""
    return torch.cat([seen + below * cells for below in range(maps)], dim=1)


def smooth_patterns(side: int, count: int, width: float, stream: torch.Generator) -> Tensor:
    """``count`` patterns over ``side x side`` places, ``[side^2, count]`` float64; ``width`` is the Gaussian's sd."""
    noise = torch.rand(side * side, count, generator=stream, dtype=torch.float64) * 2 - 1
    if not width:
        return noise
    place = torch.arange(side * side)
    at = torch.stack([place // side, place % side], dim=1).double()
    near = (-(at[:, None] - at[None]).square().sum(dim=2) / (2 * width**2)).exp()
    return near / near.square().sum(dim=1, keepdim=True).sqrt() @ noise


class FilterNetwork(nn.Module):
    """``relu(w_f . what the field sees + b_f)`` for every filter and place, once or twice, and an output layer.

    ``kernels``, layer by layer: ``[1, r^2, F]``, the same at every place; ``[places^2, r^2, F]``, if not shared; of a
    second layer, which sees every map below, ``[1, F_below r^2, F]``.

    Pixels are centred by ``mean``, ``[inputs]``. A filter begins as smooth patterns whose weights sum to zero, of the
    kind that genes paint; ``frozen`` filters stay as they were drawn.
    """

    mean: Tensor

    def __init__(self, mean: Tensor, network: NetworkConfig, classes: int, seed: int) -> None:
        super().__init__()
        self.grids = network.grids
        self.cap = network.cap
        for depth, seen in enumerate(seen_by(len(mean), network)):
            self.register_buffer(f"seen_{depth}", seen, persistent=False)
        self.register_buffer("mean", mean.cpu(), persistent=False)
        stream, train, maps = generator(seed, "initial weights"), not network.frozen, 1
        self.kernels, self.biases = nn.ParameterList(), nn.ParameterList()
        for grid in network.grids:
            sheets = network.fields * maps
            patterns = smooth_patterns(grid.field, grid.filters * sheets, SMOOTH, stream).float()
            patterns = (patterns - patterns.mean(dim=0)) * (1.5 / (grid.field * maps**0.5))
            by_sheet = patterns.view(-1, grid.filters, sheets).permute(2, 0, 1)  # [sheets, r^2, F]
            kernels = by_sheet.reshape(network.fields, -1, grid.filters).contiguous()
            self.kernels.append(nn.Parameter(kernels, requires_grad=train))
            self.biases.append(nn.Parameter(torch.zeros(network.fields, 1, grid.filters), requires_grad=train))
            maps = grid.filters
        units = network.grids[-1].units
        self.outputs = nn.Linear(units, classes)
        self.outputs.weight = nn.Parameter(uniform((classes, units), units**-0.5, stream))
        self.outputs.bias = nn.Parameter(torch.zeros(classes))

    @property
    def seen(self) -> list[Tensor]:
        """What a filter of each layer sees at each place, of each map below."""
        return [self.get_buffer(f"seen_{depth}") for depth in range(len(self.grids))]

    def see(self, images: Tensor) -> Tensor:
        """The images themselves."""
        return images

    def as_module(self) -> nn.Module:
        """With full matrices, filter by filter and place by place."""
        layers: list[nn.Module] = []
        cells, maps = len(self.mean), 1
        for grid, seen, kernels, biases in zip(self.grids, self.seen, self.kernels, self.biases, strict=True):
            filters, places = grid.filters, len(seen)
            seen_at = over_maps(seen.cpu(), cells, maps).expand(filters, places, -1)
            weights = kernels.detach().cpu().permute(2, 0, 1).expand(filters, places, -1)
            matrix = weights.new_zeros(filters, places, maps * cells).scatter(2, seen_at, weights).flatten(0, 1)
            offsets = biases.detach().cpu()[:, 0].T.expand(filters, places).flatten()
            offsets = offsets if layers else offsets - matrix @ self.mean.cpu()
            layers += hidden(matrix, self.cap, offsets)
            cells, maps = places, filters
        return nn.Sequential(*layers, linear(self.outputs.weight, self.outputs.bias))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[1, B, C]`` of images ``[B, inputs]``."""
        maps = (images - self.mean)[:, None]  # [B, maps, cells]
        for seen, kernels, biases in zip(self.seen, self.kernels, self.biases, strict=True):
            fields = maps[:, :, seen].permute(2, 0, 1, 3).flatten(2)  # [places, B, maps r^2]
            units = (fields @ kernels + biases).permute(1, 2, 0)
            maps = fire(units.flatten(1), self.cap, dim=1).view_as(units)
        logits: Tensor = self.outputs(maps.flatten(1))
        return logits[None]
