"""Pictures of digits that people have, made into what MNIST has: white on black, 20 x 20 pixels, centred in 28 x 28.

As LeCun, Cortes and Burges describe it: the digit is scaled to fit 20 x 20 pixels, keeping its proportions, and moved
so that its centre of mass is in the middle.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from nne.training.errors import UserError, require

Pixels = NDArray[np.float64]
SIDE, BOX = 28, 20
FAINT = 0.2  # of the darkest ink: what is less is paper


def read_digit(path: Path) -> Tensor:
    """``[784]`` float32 in [0, 1]. A picture that is 28 x 28 already is taken as it is, light on dark.

    Raises:
        UserError: it cannot be read as a picture, or has nothing on it.
    """
    ink = strokes(grey(path))
    require(bool(ink.max() > 0), f"{path} is all one shade: there is no digit on it")
    return torch.from_numpy(ink if ink.shape == (SIDE, SIDE) else centred(ink)).float().flatten()


def grey(path: Path) -> Pixels:
    """Brightness in [0, 1], upright, on white where the picture is transparent."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture)
                deep = upright.mode.startswith("I") or upright.mode == "F"
                if not deep:
                    layers = upright.convert("RGBA")
                    upright = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("L")
                values = np.asarray(upright, dtype=np.float64)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path} cannot be read as a picture ({error})") from error
    values = np.nan_to_num(values)
    return values / (max(float(values.max()), 1.0) if deep else 255.0)


def strokes(brightness: Pixels) -> Pixels:
    """How much ink there is, in [0, 1], whatever the colour of the paper, which is what most of the border shows."""
    edge = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    paper = float(np.median(edge))
    ink = np.clip(paper - brightness if paper > 0.5 else brightness - paper, 0, None)
    most = float(ink.max())
    if most < 0.05:
        return np.zeros_like(ink)
    if ink.shape == (SIDE, SIDE):
        return ink / most
    dark = ink > 0.5 * most
    ink = np.clip(ink / float(np.median(ink[dark])), 0, 1)
    return np.where(ink < FAINT, 0.0, ink)


def centred(ink: Pixels) -> Pixels:
    """The digit in a box of 20 x 20, its centre of mass in the middle of 28 x 28."""
    rows, columns = np.nonzero(ink.max(axis=1))[0], np.nonzero(ink.max(axis=0))[0]
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    height, width = (max(round(scale * side), 1) for side in digit.shape)
    small = Image.fromarray(digit.astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS)
    values = np.clip(np.asarray(small, dtype=np.float64), 0, 1)
    mass = max(float(values.sum()), 1e-9)
    top = round(SIDE / 2 - float((values.sum(axis=1) @ np.arange(height)) / mass))
    left = round(SIDE / 2 - float((values.sum(axis=0) @ np.arange(width)) / mass))
    top, left = min(max(top, 0), SIDE - height), min(max(left, 0), SIDE - width)
    whole = np.zeros((SIDE, SIDE))
    whole[top : top + height, left : left + width] = values
    return whole
