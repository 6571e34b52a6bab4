"""How much of the hidden layer fires, and how much two classes share: counted once, since the layer never changes."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from nne.training.models.output_layer import Features, dense_part

BLOCK = 4096  # hidden units that are counted at once


@dataclass(frozen=True)
class ActivityStats:
    """Of the ``S`` training images.

    firing: ``[S]``, the share of hidden units that fire on each image.
    unit_firing: ``[width]``, the share of images on which each unit fires (empty for an infinite layer).
    overlap: ``[C, C]``, of the units that fire for an image of the row's class, the share that fire for one of the
        column's, over all pairs of images.
    """

    firing: Tensor
    unit_firing: Tensor
    overlap: Tensor


class ActivityCounter:
    """Counts activity in one block of hidden units after the other."""

    def __init__(self, labels: Tensor, width: int) -> None:
        self.member = one_hot(labels).T.float()
        self.fired = self.member.new_zeros(len(labels))
        self.unit_firing = self.member.new_zeros(width)
        self.together = self.member.new_zeros(len(self.member), len(self.member))

    def add(self, units: slice, fires: Tensor) -> None:
        """Which of the images made some units fire: ``fires: [S, units]``, 0 or 1 in float32."""
        self.fired += fires.sum(dim=1)
        self.unit_firing[units] = fires.mean(dim=0)
        of_class = self.member @ fires
        self.together.addmm_(of_class, of_class.T)

    def result(self) -> ActivityStats:
        """Everything counted so far."""
        images = self.member.sum(dim=1)
        fired = (self.member @ self.fired / images).clamp(min=1)
        overlap = self.together / images[:, None] / images / fired[:, None]
        return ActivityStats(self.fired / len(self.unit_firing), self.unit_firing, overlap)


def of_features(features: Features, labels: Tensor, width: int) -> ActivityStats:
    """The activity of a hidden layer that is there as a whole, ``[S, width]``."""
    count = ActivityCounter(labels, width)
    for start in range(0, width, BLOCK):
        units = slice(start, min(start + BLOCK, width))
        count.add(units, (dense_part(features, units) > 0).float())
    return count.result()


def expected(same_side: Tensor, labels: Tensor) -> ActivityStats:
    """That of an infinite layer: ``same_side: [S, S]``, the chance that a unit firing on one image fires on another."""
    member = one_hot(labels).T.float()
    share = member / member.sum(dim=1, keepdim=True)
    half = torch.full_like(same_side[0], 0.5)
    return ActivityStats(half, half[:0], share @ same_side @ share.T)
