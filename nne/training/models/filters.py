"""Filters on a grid of places, the same at each or not, under a full output layer: what gradients train of them."""

import torch
from torch import Tensor, nn

from nne.training.data.jitter import side_of
from nne.training.errors import require
from nne.training.models.network import uniform
from nne.training.models.plain import hidden, linear
from nne.training.parts import NetworkConfig
from nne.training.seeding import generator

SMOOTH = 1.0  # pixels


def fields(inputs: int, network: NetworkConfig) -> Tensor:
    """The pixels of every place's field, ``[places^2, field^2]``.

    Raises:
        UserError: images are not square, or too small for so large a field at so many places.
    """
    side, r, places = side_of(inputs), network.field, network.places
    room = side - 2 - r  # a border of one pixel is left out
    fits = room >= places - 1
    require(fits, f"network.field={r} at network.places={places} does not fit into images of {side} x {side} pixels")
    starts = torch.linspace(1, 1 + room, places).round().long()
    within = torch.arange(r)
    one_row = starts[:, None] + within
    pixels = one_row[:, None, :, None] * side + one_row[None, :, None, :]
    return pixels.reshape(places * places, r * r)


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
    """``relu(w_f . pixels of a field + b_f)`` for every filter and place, and an output layer with a bias.

    ``kernels: [1, r^2, F]`` are the same at every place; if not shared, they are ``[places^2, r^2, F]``.

    Pixels are centred by ``mean``, ``[inputs]``. A filter begins as a smooth pattern whose weights sum to zero, of the
    kind that genes paint; ``frozen`` filters stay as they were drawn.
    """

    seen_at: Tensor
    mean: Tensor

    def __init__(self, mean: Tensor, network: NetworkConfig, classes: int, seed: int) -> None:
        super().__init__()
        assert network.filters
        self.register_buffer("seen_at", fields(len(mean), network), persistent=False)
        self.register_buffer("mean", mean.cpu(), persistent=False)
        stream = generator(seed, "initial weights")
        count = network.filters * network.fields
        patterns = smooth_patterns(network.field, count, SMOOTH, stream).float() * (1.5 / network.field)
        by_place = (patterns - patterns.mean(dim=0)).view(-1, network.filters, network.fields).permute(2, 0, 1)
        self.kernels = nn.Parameter(by_place.contiguous(), requires_grad=not network.frozen)
        self.biases = nn.Parameter(torch.zeros(network.fields, 1, network.filters), requires_grad=not network.frozen)
        units = network.filters * network.places**2
        self.outputs = nn.Linear(units, classes)
        self.outputs.weight = nn.Parameter(uniform((classes, units), units**-0.5, stream))
        self.outputs.bias = nn.Parameter(torch.zeros(classes))

    def see(self, images: Tensor) -> Tensor:
        """The images themselves."""
        return images

    def as_module(self) -> nn.Module:
        """With a full matrix, filter by filter and place by place."""
        filters, (places, size), inputs = self.kernels.shape[2], self.seen_at.shape, len(self.mean)
        seen_at = self.seen_at.expand(filters, places, size)
        weights = self.kernels.permute(2, 0, 1).expand(filters, places, size)
        matrix = weights.new_zeros(filters, places, inputs).scatter(2, seen_at, weights).flatten(0, 1).detach()
        biases = self.biases.detach()[:, 0].T.expand(filters, places).flatten() - matrix @ self.mean
        return nn.Sequential(*hidden(matrix, None, biases), linear(self.outputs.weight, self.outputs.bias))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[1, B, C]`` of images ``[B, inputs]``."""
        pixels = (images - self.mean)[:, self.seen_at].transpose(0, 1)  # [places, B, r^2]
        maps = (pixels @ self.kernels + self.biases).relu()
        logits: Tensor = self.outputs(maps.permute(1, 2, 0).flatten(1))
        return logits[None]
