"""The fixed random hidden layer: Kaiming uniform weights, ReLU and, if asked for, a cap (Sec. 3.2; Sec. 4, item 5).

Weights are drawn in blocks of ``UNITS`` hidden units, each block from a generator of its own, so a wider layer
begins with the units of a narrower one and no layer need exist as a whole.

Shapes: ``images: [B, inputs]``, ``h: [B, width]``.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from nne.training.device import free_memory
from nne.training.errors import UserError
from nne.training.models import plain
from nne.training.models.network import uniform
from nne.training.models.output_layer import Features, SparseFeatures
from nne.training.parts import FeaturesConfig
from nne.training.seeding import generator

UNITS = 4096
SPARSE = 1 / 32  # where fewer than this share of the units fire, they are listed
BLOCK_BYTES = 2**28  # of hidden layer in float32 that exist at once


class RandomFeatures:
    """``h = relu(w^T y)``, or its ``cap`` largest entries.

    Args:
        config: a finite width.
        train_images: ``[S, inputs]``, for their mean and sd if pixels are to be standardised.
        dtype: of the features that are kept; they are computed in float32.
    """

    def __init__(self, config: FeaturesConfig, seed: int, train_images: Tensor, dtype: torch.dtype) -> None:
        self.width = int(config.width)
        self.cap = config.cap
        self.seed = seed
        self.inputs = train_images.shape[1]
        self.device = train_images.device
        self.dtype = dtype
        self.standardise = standardiser(config, train_images)
        self._weights: Tensor | None = None

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """The weights ``[inputs, units]`` of block after block of hidden units."""
        bound = (6 / self.inputs) ** 0.5
        for i, start in enumerate(range(0, self.width, UNITS)):
            drawn = uniform((UNITS, self.inputs), bound, generator(self.seed, "hidden weights", i))
            units = slice(start, min(start + UNITS, self.width))
            yield units, drawn[: units.stop - units.start].T.to(self.device)

    @property
    def weights(self) -> Tensor:
        """All hidden weights, ``[inputs, width]`` float32, made once."""
        if self._weights is None:
            self._weights = torch.cat([weights for _, weights in self.blocks()], dim=1)
        return self._weights

    def output_weights(self, classes: int, initial: str) -> Tensor:
        """``w_0``, ``[width, classes]``, for the layer above: uniform within ``1 / sqrt(width)``, or zero."""
        self.must_fit(8 * classes)
        drawn = uniform((self.width, classes), self.width**-0.5, generator(self.seed, "output weights"))
        return (drawn if initial == "uniform" else torch.zeros_like(drawn)).to(self.device)

    @property
    def count(self) -> int:
        """Blocks of hidden units."""
        return -(-self.width // UNITS)

    @property
    def listed(self) -> bool:
        """Whether so few units fire that they are listed."""
        return self.cap is not None and self.cap <= self.width * SPARSE

    def __call__(self, images: Tensor) -> Features:
        """``h`` of some images: ``[B, width]``, or a ``SparseFeatures`` if the cap lets only few units fire.

        Raises:
            UserError: the weights and the features would not fit in the memory that is free.
        """
        if self._weights is None:
            kept = 0 if self.listed else len(images) * torch.finfo(self.dtype).bits // 8
            self.must_fit(4 * self.inputs + kept)
        return self.firing(self.weights)(images)

    def firing(self, weights: Tensor) -> Callable[[Tensor], Features]:
        """What some hidden units, of the given weights ``[inputs, units]``, make of images; all units under a cap."""
        rows = max(BLOCK_BYTES // (4 * weights.shape[1]), 1)
        return lambda images: _join([self._fire(weights, block) for block in torch.split(images, rows)])

    def _fire(self, weights: Tensor, images: Tensor) -> Features:
        h = torch.relu(self.standardise(images) @ weights)
        if self.cap is None:
            return h.to(self.dtype)
        fires = k_cap(h, self.cap)
        if not self.listed:
            return (h * fires).to(self.dtype)
        units = fires.nonzero()[:, 1].view(len(h), self.cap)
        return SparseFeatures(units.int(), h.gather(1, units).to(self.dtype))

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """The weights of as many hidden units as fire by themselves: block after block; under a cap, all of them."""
        return iter([(slice(0, self.width), self.weights)]) if self.cap else self.blocks()

    def layers(self) -> list[nn.Module]:
        """As plain modules; what is done to pixels first, an affine map, goes into weights and biases."""
        self.must_fit(8 * self.inputs)
        black, white = self.standardise(torch.tensor([0.0, 1.0], device=self.device))
        rows = self.weights.T
        bias = black * rows.sum(dim=1) if black else None
        return plain.hidden(rows * (white - black), self.cap, bias)

    def must_fit(self, a_unit: int) -> None:
        """Raise ``UserError`` unless ``a_unit`` bytes for each hidden unit fit in the memory that is free."""
        needed, free = a_unit * self.width + BLOCK_BYTES, free_memory(self.device)
        if needed > free:
            most = max((free - BLOCK_BYTES) // a_unit, 1)
            raise UserError(
                f"features.width={self.width} needs {needed / 2**30:.1f} GiB here, and {free / 2**30:.1f} GiB are "
                f"free: set features.width to at most {most}, or train by learner=dopamine with "
                "learner.path=dual and features.cap=null, whose memory hardly depends on it"
            )


def k_cap(h: Tensor, k: int) -> Tensor:
    """Which units fire under a cap: bool like ``h: [B, width]``, true for the ``k`` largest of each row.

    Of units that are equally active, those that come first fire.
    """
    least = h.topk(k, dim=1).values[:, -1:]
    above, equal = h > least, h == least
    places = k - above.sum(dim=1, keepdim=True)
    return above | (equal & (equal.cumsum(dim=1) <= places))


def standardiser(config: FeaturesConfig, train_images: Tensor) -> Callable[[Tensor], Tensor]:
    """What is done to pixels first."""
    if not config.standardise:
        return lambda images: images
    mean, sd = train_images.mean(), train_images.std()
    return lambda images: (images - mean) / sd


def _join(parts: list[Features]) -> Features:
    if isinstance(parts[0], SparseFeatures):
        return SparseFeatures(torch.cat([p.units for p in parts]), torch.cat([p.h for p in parts]))  # type: ignore[union-attr]
    return torch.cat(parts)  # type: ignore[arg-type]
