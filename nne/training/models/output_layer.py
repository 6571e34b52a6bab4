"""An output layer on fixed features: from chance (Sec. 3.2) or from evolution (Sec. 3.1), one network or several.

Features of ``B`` images are ``h: [B, width]``, or ``[M, B, width]`` where each of ``M`` networks has its own, or a
``SparseFeatures`` where a cap lets only a few units fire.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn.functional import embedding_bag, linear

from nne.training.models import plain


@dataclass(frozen=True)
class SparseFeatures:
    """The units that fire: ``units: [B, k]`` which, ``h: [B, k]`` how strongly."""

    units: Tensor
    h: Tensor

    def __getitem__(self, rows: "Rows") -> "SparseFeatures":
        return SparseFeatures(self.units[rows], self.h[rows])


Features = Tensor | SparseFeatures
Rows = Tensor | slice


def take(features: Features, rows: Rows) -> Features:
    """The features of some of the images."""
    return features[rows] if isinstance(features, SparseFeatures) else features[..., rows, :]


def project(features: Features, w: Tensor) -> Tensor:
    """``w^T h``: logits ``[..., B, C]`` for ``w: [..., width, C]``; of ``SparseFeatures``, units that fire."""
    if isinstance(features, SparseFeatures):
        return embedding_bag(features.units, w, mode="sum", per_sample_weights=features.h.to(w.dtype))
    return features.to(w.dtype) @ w


def dense(features: Features, width: int) -> Tensor:
    """The same features as ``[B, width]``, zero where a unit does not fire."""
    if isinstance(features, SparseFeatures):
        zeros = features.h.new_zeros(len(features.h), width)
        return zeros.scatter_(1, features.units.long(), features.h)
    return features


def dense_part(features: Features, units: slice) -> Tensor:
    """Of some units ``[start, stop)`` alone, ``[B, stop - start]``."""
    if not isinstance(features, SparseFeatures):
        return features[:, units]
    which = features.units.long() - units.start
    inside = (which >= 0) & (which < units.stop - units.start)
    zeros = features.h.new_zeros(len(which), units.stop - units.start)
    return zeros.scatter_add_(1, which.where(inside, 0), features.h.where(inside, 0))


class Hidden(Protocol):
    """What lies below an output layer, and does not learn."""

    def __call__(self, images: Tensor) -> Features:
        """The features of images ``[B, inputs]``."""

    def layers(self) -> list[nn.Module]:
        """The same as plain modules; where each of ``M`` networks has its own, those of the first."""


class OutputLayer(nn.Module):
    """``softmax(w h)`` with ``w: [M, C, width]``, a row for each output neuron, to be trained; ``h`` is fixed.

    Args:
        see: the features of images.
        w: the weights to begin with, one layer for each of ``M`` networks.
    """

    def __init__(self, see: Hidden, w: Tensor) -> None:
        super().__init__()
        self.see = see
        self.w = nn.Parameter(w)

    def as_module(self) -> nn.Module:
        """The whole network; of ``M``, the first."""
        return nn.Sequential(*self.see.layers(), plain.linear(self.w[0]))

    def forward(self, features: Features) -> Tensor:
        """Logits ``[M, B, C]``."""
        if isinstance(features, SparseFeatures):
            return project(features, self.w.squeeze(0).T)[None]
        if features.dim() == 2 and len(self.w) == 1:  # three times as fast as the same by a batched product
            return linear(features.to(self.w.dtype), self.w.squeeze(0))[None]
        return features.to(self.w.dtype) @ self.w.transpose(1, 2)
