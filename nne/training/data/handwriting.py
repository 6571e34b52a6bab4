"""Pictures of digits that people have, made into what MNIST has: white on black, 20 x 20 pixels, centred in 28 x 28.

As LeCun, Cortes and Burges describe it: the digit is scaled to fit 20 x 20 pixels, keeping its proportions, and moved
so that its centre of mass is in the middle.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from nne.training.data.paper import STROKE, Mask, ink
from nne.training.data.picture import Pixels, read
from nne.training.errors import require

SIDE, BOX = 28, 20
FINE = 110  # pixels a side, at least, of a picture whose strokes are measured
THIN = 1.6  # pixels of 20 x 20: MNIST's strokes are about 2.5 wide
HOLES, OUTLINE, THICKEST, FAINTEST = 4, 7.0, 0.45, 1.5
"""What no digit exceeds: its holes, its outline and strokes over its size, its faint pixels over its dark ones."""


def read_digit(path: Path) -> Tensor:
    """``[784]`` float32 in [0, 1], of a picture of any size, dark on light or light on dark.

    Raises:
        UserError: it cannot be read as a picture, has nothing on it, several digits, or something else.
    """
    strength = ink(read(path))
    require(bool(strength.max() > 0), f"{path} is empty, or shows something else: there is no digit on it")
    digit, others = strokes(strength)
    require(not others, f"{path} has {others + 1} drawings side by side; cut it into one digit a picture")
    cut = _cut(digit)
    fine = _fine(cut)
    drawn = _drawn(fine > STROKE, strength)
    require(drawn, f"{path} does not look like a digit: it has other than a few strokes")
    return torch.from_numpy(centred(cut, fine)).float().flatten()


def _fine(strength: Pixels) -> Pixels:
    """With so many pixels that the width of strokes can be told."""
    factor = -(-FINE // max(strength.shape))
    height, width = strength.shape
    picture = Image.fromarray(strength.astype(np.float32))
    resized = picture.resize((width * factor, height * factor), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float64).clip(0, 1)


def strokes(strength: Pixels) -> tuple[Pixels, int]:
    """The digit alone, cut out with its soft edges, and how many others of its size stand beside it."""
    mask = strength > STROKE
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    boxes = ndimage.find_objects(labels)
    masses = ndimage.sum(strength, labels, range(1, count + 1))
    order = np.argsort(masses)[::-1]
    groups: list[list[int]] = []
    for i in order:
        if masses[i] < 0.02 * masses[order[0]]:
            break
        for group in groups:
            if any(_near(boxes[i], boxes[j]) for j in group):
                group.append(int(i))
                break
        else:
            groups.append([int(i)])
    sizes = [sum(masses[i] for i in group) for group in groups]
    main = groups[int(np.argmax(sizes))]
    heights = [max(boxes[i][0].stop for i in group) - min(boxes[i][0].start for i in group) for group in groups]
    height = heights[groups.index(main)]
    others = sum(
        size > 0.25 * max(sizes) and tall > 0.5 * height
        for group, size, tall in zip(groups, sizes, heights, strict=True)
        if group is not main
    )
    kept = np.isin(labels, [i + 1 for i in main])
    reach = max(round(0.02 * height), 1)
    soft = np.where(ndimage.binary_dilation(kept, np.ones((3, 3)), iterations=reach), strength, 0)
    soft[soft < 0.15] = 0
    return soft, others


def _near(one: tuple[slice, slice], other: tuple[slice, slice]) -> bool:
    """Whether two boxes overlap, or the gap between them is small beside their size."""
    size = max(part.stop - part.start for part in (*one, *other))
    gaps = [max(a.start - b.stop, b.start - a.stop, 0) for a, b in zip(one, other, strict=True)]
    overlap = min(one[1].stop, other[1].stop) - max(one[1].start, other[1].start)
    return bool(max(gaps) <= (0.25 if overlap > 0 else 0.08) * size)


def _drawn(mask: Mask, strength: Pixels) -> bool:
    """Whether it is made of strokes: not thick all over, not faint all over, without many holes or a long outline."""
    size = max(mask.shape)
    labels, count = ndimage.label(~np.pad(mask, 1))
    holes = int((np.bincount(labels.flat, minlength=count + 1)[2:] > 0.002 * size**2).sum())
    outline = float((mask & ~ndimage.binary_erosion(mask)).sum())
    sharp = min(strength.shape) >= FINE
    faint = ((strength > 0.5 * STROKE) & (strength < 0.7)).sum() > FAINTEST * (strength >= 0.7).sum()
    thick = min(mask.shape) > 0.5 * size and _width(mask) > THICKEST * size
    return not (holes > HOLES or outline > OUTLINE * size or (sharp and (faint or thick)))


def _width(mask: Mask) -> float:
    """The mean width of strokes: four times the mean distance to their edge, as in a strip."""
    return 4 * float(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][mask].mean()) - 2


def _cut(digit: Pixels) -> Pixels:
    """Without the paper round it."""
    rows, columns = np.nonzero(digit.max(axis=1))[0], np.nonzero(digit.max(axis=0))[0]
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def centred(cut: Pixels, fine: Pixels) -> Pixels:
    """In a box of 20 x 20, its centre of mass in the middle of 28 x 28; thin strokes become as wide as MNIST's.

    ``fine`` is the same digit with more pixels, by which the width of its strokes is told.
    """
    thin = THIN - BOX / max(fine.shape) * _width(fine > STROKE)
    if thin > 0:
        cut = _thicker(fine, (thin + 0.6) * max(fine.shape) / BOX)
    scale = BOX / max(cut.shape)
    height, width = (max(round(scale * side), 1) for side in cut.shape)
    small = Image.fromarray(cut.astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS)
    values = np.clip(np.asarray(small, dtype=np.float64), 0, 1)
    mass = max(float(values.sum()), 1e-9)
    top = round(SIDE / 2 - float((values.sum(axis=1) @ np.arange(height)) / mass))
    left = round(SIDE / 2 - float((values.sum(axis=0) @ np.arange(width)) / mass))
    top, left = min(max(top, 0), SIDE - height), min(max(left, 0), SIDE - width)
    whole = np.zeros((SIDE, SIDE))
    whole[top : top + height, left : left + width] = values
    return whole


def _thicker(digit: Pixels, by: float) -> Pixels:
    """Strokes that are ``by`` pixels wider."""
    radius = by / 2
    reach = max(int(np.ceil(radius)), 1)
    distance = ndimage.distance_transform_edt(np.pad(digit <= STROKE, reach, constant_values=True))
    thicker: Pixels = np.clip(radius + 1 - distance, 0, 1)
    return thicker
