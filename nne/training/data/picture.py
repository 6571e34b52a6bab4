"""Pictures as files: read, set upright, made no larger than needed, transparent parts filled."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nne.training.errors import UserError

Pixels = NDArray[np.float64]
LARGEST = 800  # pixels a side that are looked at
MOST = 500_000_000  # pixels of a file that is opened at all
FLAT = 0.15  # standard deviation of what is drawn in one colour


def read(path: Path) -> Pixels:
    """``[height, width, 3]`` in [0, 1], of at most ``LARGEST`` pixels a side.

    Raises:
        UserError: there is no such file, or it is no picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS = MOST // 2  # Pillow raises at twice this
            with Image.open(path) as picture:
                picture.draft("RGB", (LARGEST, LARGEST))
                upright = ImageOps.exif_transpose(picture)
                if upright.mode.startswith("I") or upright.mode == "F":
                    return _deep(upright)
                layers = upright.convert("RGBA")
                layers.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS, reducing_gap=2.0)
                values = np.asarray(layers, dtype=np.float64) / 255
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder, not a picture") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as a picture ({error})") from error
    return _filled(values[..., :3], values[..., 3])


def _deep(picture: Image.Image) -> Pixels:
    """Of a picture with 16 or 32 bits a pixel, scaled by its brightest."""
    grey = picture.convert("F")
    grey.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    values = np.nan_to_num(np.asarray(grey, dtype=np.float64)).clip(0)
    return _grey(values / max(float(values.max()), 1.0))


def _filled(colour: Pixels, alpha: Pixels) -> Pixels:
    """Without transparency: ink on nothing becomes black on white, and gaps in a picture take its commonest colour."""
    visible = alpha > 0.5
    if visible.all() or not visible.any():
        return np.where(alpha[..., None] > 0.5, colour, 1.0)
    shades = colour[visible]
    if visible.mean() < 0.7 and float(shades.std(axis=0).max()) < FLAT:
        return _grey(1 - alpha)
    fill = np.median(shades, axis=0)
    filled: Pixels = colour * alpha[..., None] + fill * (1 - alpha[..., None])
    return filled


def _grey(values: Pixels) -> Pixels:
    return np.repeat(values[..., None], 3, axis=-1)
