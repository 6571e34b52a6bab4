"""IDX, the format of MNIST and its kin: where such files are found, and how they are read and verified."""

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nne.training.errors import UserError, require

NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
INSTEAD = "take it away to have the original downloaded, or read it as your own with data=idx data.path=FOLDER"

Files = dict[str, tuple[Path, Path]]
"""By split: the file of images and the file of labels."""


def find(*folders: Path) -> Files | None:
    """The files of both splits in the first folder that has them all, under any of their usual names."""
    for folder in folders:
        files = {split: (_file(folder, images), _file(folder, labels)) for split, (images, labels) in NAMES.items()}
        if all(path for pair in files.values() for path in pair):
            return files  # type: ignore[return-value]
    return None


def _file(folder: Path, name: str) -> Path | None:
    """As it is distributed, as Kaggle names it, or packed."""
    names = [f"{stem}{end}" for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    return next((folder / each for each in names if (folder / each).is_file()), None)


def read(path: Path, dimensions: int) -> Tensor:
    """An IDX file of unsigned bytes, packed or not: ``uint8``, of the shape that its header says.

    Args:
        dimensions: 3 for images, 1 for labels.

    Raises:
        UserError: it cannot be read, is no such file, or is longer or shorter than its header says.
    """
    content = _content(path)
    header = 4 * (1 + dimensions)
    right = content[:4] == bytes((0, 0, 8, dimensions)) and len(content) >= header
    require(right, f"{path} is not an IDX file of bytes in {dimensions} dimensions; {INSTEAD}")
    shape = np.frombuffer(content[4:header], dtype=">u4").astype(int).tolist()
    expected = header + math.prod(shape)
    require(len(content) == expected, f"{path} should be {expected} bytes long, is {len(content)}; {INSTEAD}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[header:].view(shape)


def read_original(path: Path, shape: tuple[int, ...], name: str) -> Tensor:
    """The same of a data set whose shape is known and, for MNIST, whose SHA-256 is.

    Raises:
        UserError: also where these differ.
    """
    array = read(path, len(shape))
    given = "x".join(map(str, array.shape))
    require(array.shape == shape, f"{path} holds {given} bytes, not {'x'.join(map(str, shape))}; {INSTEAD}")
    if name == "mnist":
        original = MNIST_SHA256[path.name.removesuffix(".gz").replace(".idx", "-idx")]
        same = hashlib.sha256(_content(path)).hexdigest() == original
        require(same, f"{path} is not the original: its SHA-256 differs; {INSTEAD}")
    return array


def _content(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
