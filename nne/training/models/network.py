"""The network that evolution and gradient descent share: sparse random hidden layers, a full output layer.

``SparseNetwork`` is the same graph with weights that gradients can train, for the baseline of Table 1.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nne.training.errors import UserError, first_line, require
from nne.training.models.plain import layered, most_active
from nne.training.parts import NetworkConfig
from nne.training.plugin import load
from nne.training.seeding import generator


@dataclass(frozen=True)
class Edges:
    """The links into one hidden layer, sorted by its unit and then by their source.

    ``unit, source: [edges]``, their ends, out of ``units`` of this layer and ``sources`` of the layer before it.
    """

    units: int
    sources: int
    unit: Tensor
    source: Tensor


@dataclass(frozen=True)
class Topology:
    """The links of a network: the edges into hidden layer after hidden layer, then every output weight.

    The output weight of the last hidden layer's unit ``u`` and class ``c`` is link ``edges + u * classes + c``.
    ``lit``: the last source of the first hidden layer is no pixel of the image but one that is always 1.
    ``mean``: ``[inputs]``, which is taken from images, if any.
    """

    layers: tuple[Edges, ...]
    classes: int
    lit: bool = False
    mean: Tensor | None = None

    def see(self, images: Tensor) -> Tensor:
        """What links see of images ``[B, inputs]``: less the mean, and with a last pixel of 1, where there are such."""
        if self.mean is not None:
            return images - self.mean.to(images)
        return torch.cat([images, images.new_ones(len(images), 1)], dim=1) if self.lit else images

    def on_pixels(self, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
        """The first layer's matrix, ``[units, sources]``, as one of the images themselves, and a bias if need be."""
        if self.mean is not None:
            return matrix, -(matrix @ self.mean.to(matrix))
        return (matrix[:, :-1], matrix[:, -1]) if self.lit else (matrix, None)

    @property
    def first(self) -> Edges:
        """The input->hidden graph."""
        return self.layers[0]

    @property
    def edges(self) -> int:
        """Links that do not go to the output layer."""
        return sum(len(layer.unit) for layer in self.layers)

    @property
    def links(self) -> int:
        """``m``, the number of weights."""
        return self.edges + self.layers[-1].units * self.classes

    def slots(self) -> list[Tensor]:
        """The link of every cell of each layer's matrix, ``[units, sources]``, -1 where there is none; outputs last."""
        slots, link = [], 0
        for layer in self.layers:
            cells = torch.full((layer.units, layer.sources), -1)
            cells[layer.unit, layer.source] = torch.arange(link, link + len(layer.unit))
            slots.append(cells)
            link += len(layer.unit)
        return [*slots, torch.arange(link, self.links).view(-1, self.classes).T]

    def matrices(self, weights: Tensor) -> list[Tensor]:
        """The matrix of every layer, ``[N, units, sources]``, from weights ``[N, m]`` link by link; outputs last."""
        padded = torch.cat([weights, weights.new_zeros(len(weights), 1)], dim=1)
        return [padded[:, cells] for cells in self.slots()]


def sparse_topology(inputs: int, config: NetworkConfig, classes: int, seed: int) -> Topology:
    """Each edge into a hidden layer is there with its layer's probability, independently (Sec. 3.1)."""
    layers, sources = [], inputs
    for i, (units, probability) in enumerate(zip(config.layers, config.densities, strict=True)):
        stream = generator(seed, "edges", i) if i else generator(seed, "edges")
        unit, source = (torch.rand(units, sources, generator=stream) < probability).nonzero(as_tuple=True)
        layers.append(Edges(units, sources, unit, source))
        sources = units
    return Topology(tuple(layers), classes)


def uniform(shape: tuple[int, ...], bound: float, stream: torch.Generator) -> Tensor:
    """Uniform in ``[-bound, bound]``, float32."""
    return (torch.rand(shape, generator=stream) * 2 - 1) * bound


def fire(hidden: Tensor, cap: int | None, dim: int) -> Tensor:
    """``relu`` in place, and then only the ``cap`` most active units along ``dim`` (Sec. 4, item 5); all that tie."""
    hidden = hidden.relu_()
    return hidden if cap is None else most_active(hidden, cap, dim)


def load_module(path: str, inputs: int, classes: int, seed: int) -> nn.Module:
    """The module that ``network.module`` names, made with ``classes`` as its only argument; initialised by the seed.

    Args:
        path: ``package.module.Class``.
        inputs: pixels of an image; two images are tried.

    Raises:
        UserError: it cannot be imported or made, or does not map images ``[B, inputs]`` to logits ``[B, classes]``.
    """
    factory = load("network.module", path)
    where, expected = f"network.module={path}", f"[B, {inputs}] to [B, {classes}]"
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made: nn.Module = factory(classes)
        with torch.no_grad():
            outputs = made.eval()(torch.zeros(2, inputs))
    except Exception as error:  # whatever the user's own module does
        why = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{where} must be made of the number of classes and map {expected}: {why}") from error
    shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    require(shape == [2, classes], f"{where} must map {expected}; two images gave {shape}")
    return made.train()


class ModuleNetwork(nn.Module):
    """Any module from images to logits, with every parameter to be trained."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def see(self, images: Tensor) -> Tensor:
        """Nothing is fixed here: the images themselves."""
        return images

    def as_module(self) -> nn.Module:
        """A copy."""
        return deepcopy(self.module).cpu()

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[1, B, C]`` of images ``[B, inputs]``."""
        logits: Tensor = self.module(images)
        return logits[None]


class SparseLinear(nn.Module):
    """A layer whose absent edges are held at zero; weights begin as Kaiming uniform for a unit's average in-degree."""

    present: Tensor

    def __init__(self, layer: Edges, stream: torch.Generator) -> None:
        super().__init__()
        shape = layer.units, layer.sources
        present = torch.zeros(shape).index_put((layer.unit, layer.source), torch.ones(()))
        fan_in = max(len(layer.unit) / layer.units, 1.0)
        self.register_buffer("present", present, persistent=False)
        self.weight = nn.Parameter(uniform(shape, (6 / fan_in) ** 0.5, stream) * present)

    def forward(self, seen: Tensor) -> Tensor:
        """``[B, units]`` of ``[B, sources]``."""
        return seen @ self.matrix.T

    @property
    def matrix(self) -> Tensor:
        """``[units, sources]``, zero where there is no edge."""
        return self.weight * self.present


class SparseNetwork(nn.Module):
    """Sparse hidden layers with ReLU, softmax classes, and every weight to be trained; ``frozen``: the output weights.

    Output weights begin uniform within ``1 / sqrt(hidden)``.
    """

    def __init__(self, topology: Topology, cap: int | None, seed: int, frozen: bool = False) -> None:
        super().__init__()
        self.cap, stream = cap, generator(seed, "initial weights")
        self.hidden = nn.ModuleList(SparseLinear(layer, stream) for layer in topology.layers)
        self.hidden.requires_grad_(not frozen)
        last = topology.layers[-1].units
        self.outputs = nn.Parameter(uniform((last, topology.classes), last**-0.5, stream))

    def see(self, images: Tensor) -> Tensor:
        """Nothing is fixed here: the images themselves."""
        return images

    def as_module(self) -> nn.Module:
        """With full matrices."""
        return layered([*(layer.matrix for layer in self.hidden), self.outputs.T], self.cap)  # type: ignore[list-item]

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[1, B, C]`` of images ``[B, inputs]``."""
        h = images
        for layer in self.hidden:
            h = fire(layer(h), self.cap, dim=1)
        return (h @ self.outputs)[None]


def trainable_network(config: NetworkConfig, inputs: int, classes: int, seed: int) -> SparseNetwork | ModuleNetwork:
    """The network of a configuration, with every weight to be trained, unless hidden layers are frozen."""
    if config.module:
        return ModuleNetwork(load_module(config.module, inputs, classes, seed))
    return SparseNetwork(sparse_topology(inputs, config, classes, seed), config.cap, seed, config.frozen)
