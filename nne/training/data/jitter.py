"""Jittered images: each a little rotated, scaled, sheared and shifted, so that a few say more of all others."""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from nne.training.device import send
from nne.training.errors import require

ANGLE = 0.2  # radians, at most, at strength 1
SCALE = 0.12  # of height and of width
SHEAR = 0.2
SHIFT = 1.5  # pixels of 28
DARK = 0.02  # pixels below this are 0, as those of MNIST that nobody wrote on


def jittered(images: Tensor, strength: float, stream: torch.Generator) -> Tensor:
    """``[B, inputs]`` of square images in [0, 1], each mapped by an affine map of its own.

    Args:
        images: ``[B, inputs]``.
        strength: how far from what they are; 0: as they are.
        stream: the maps are drawn from this, on the CPU, whatever the device of the images.
    """
    if not strength:
        return images
    side = side_of(images.shape[1])

    def drawn(most: float) -> Tensor:
        return (2 * torch.rand(len(images), generator=stream) - 1) * (most * strength)

    angle, high, wide, shear, right, down = map(drawn, (ANGLE, SCALE, SCALE, SHEAR, SHIFT, SHIFT))
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * (1 + wide), -sin * (1 + wide) + shear, 2 * right / 28], dim=1),
        torch.stack([sin * (1 + high), cos * (1 + high), 2 * down / 28], dim=1),
    ]
    maps = send(torch.stack(rows, dim=1), images.device).to(images.dtype)
    shape = len(images), 1, side, side
    seen = grid_sample(images.view(shape), affine_grid(maps, list(shape), align_corners=False), align_corners=False)
    return torch.where(seen < DARK, 0, seen).view(len(images), -1)


def side_of(inputs: int) -> int:
    """Of square images with so many pixels.

    Raises:
        UserError: they are not square.
    """
    side = int(inputs**0.5)
    needed = "data.jitter and network.filters need square images of one colour"
    require(side * side == inputs, f"{needed}, got {inputs} pixels: set data.jitter=0, and choose no filters")
    return side
