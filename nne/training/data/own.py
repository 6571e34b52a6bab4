"""Data of one's own: arrays in an ``.npz`` file, IDX files, a folder a class, or what a function gives.

Any number of images of any size, with any labels: numbers or words.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from nne.training.data import idx
from nne.training.errors import UserError, require
from nne.training.plugin import load
from nne.training.seeding import generator

NEEDED = ("images", "labels")
HELD_OUT = ("test_images", "test_labels")
BYTES = 16.0  # floats that are none below 0, and some above this, are bytes that were not divided by 255


class Split(NamedTuple):
    """``images: [S, inputs]`` float32 and ``labels: [S]``, counting through the classes."""

    images: Tensor
    labels: Tensor


class Own(NamedTuple):
    """The classes, as they are named in the labels, and what is learnt and tested."""

    classes: tuple[Any, ...]
    train: Split
    test: Split


def from_arrays(path: Path, test_share: float, seed: int) -> Own:
    """From a file that holds ``images`` and ``labels`` and, unless a share is to be held out, ``test_images``,
    ``test_labels``.

    Raises:
        UserError: it cannot be read, or does not hold them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return own(dict(file), f"data.path={path}", test_share, seed)
    except (OSError, ValueError, EOFError, TypeError, BadZipFile) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"data.path={path} cannot be read ({error}); give an .npz file of images and labels") from error


def from_idx(path: Path, test_share: float, seed: int) -> Own:
    """From the four files of MNIST's kind in a folder, of any number of images of any size, packed or not.

    Raises:
        UserError: they are not there, or are no IDX files.
    """
    require(path.is_dir(), f"data.path={path}: there is no such folder")
    files = idx.find(path)
    wanted = ", ".join(name for names in idx.NAMES.values() for name in names)
    if files is None:
        raise UserError(f"data.path={path} must hold {wanted} (or the same with .gz)")
    (images, labels), (test_images, test_labels) = files["train"], files["test"]
    arrays = {
        "images": idx.read(images, 3).numpy(),
        "labels": idx.read(labels, 1).numpy(),
        "test_images": idx.read(test_images, 3).numpy(),
        "test_labels": idx.read(test_labels, 1).numpy(),
    }
    return own(arrays, f"data.path={path}", test_share, seed)


def from_folder(path: Path, test_share: float, seed: int) -> Own:
    """From pictures in a folder a class, in grey; those of every class are of one size.

    Raises:
        UserError: there are none, or they differ in size.
    """
    require(path.is_dir(), f"data.path={path}: there is no such folder")
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    files = [(file, folder.name) for folder in folders for file in sorted(folder.iterdir())]
    images, labels = [], []
    for file, label in files:
        try:
            images.append(np.asarray(Image.open(file).convert("L")))
        except (UnidentifiedImageError, OSError) as error:
            raise UserError(f"{file} is not a picture that can be read; take it out of data.path={path}") from error
        labels.append(label)
    require(bool(images), f"data.path={path} holds no pictures; give a folder of folders, one a class")
    sizes = {image.shape for image in images}
    require(len(sizes) == 1, f"data.path={path}: all pictures must be of one size, got {sorted(sizes)[:3]}")
    return own({"images": np.stack(images), "labels": np.array(labels)}, f"data.path={path}", test_share, seed)


def from_function(path: str, test_share: float, seed: int) -> Own:
    """From a function without arguments that gives a dictionary of arrays, as an ``.npz`` file would hold them.

    Raises:
        UserError: it cannot be imported, fails, or gives something else.
    """
    where = f"data.source={path}"
    try:
        given = load("data.source", path)()
    except UserError:
        raise
    except Exception as error:  # whatever the user's own function does
        raise UserError(f"{where} failed ({type(error).__name__}: {error})") from error
    right = isinstance(given, Mapping)
    require(right, f"{where} must give a dictionary of images and labels, got {type(given).__name__}")
    return own(given, where, test_share, seed)


def own(given: Mapping[str, Any], where: str, test_share: float, seed: int) -> Own:
    """Arrays as data: whole numbers are divided by 255, colours averaged, pictures flattened.

    Args:
        given: ``images: [S, ...]``, ``labels: [S]`` and perhaps ``test_images``, ``test_labels``.
        where: what messages call it.
        test_share: of the images, held out for the test where no others are given.
    """
    wanted = (*NEEDED, *HELD_OUT) if given.keys() & set(HELD_OUT) else NEEDED
    missing = [name for name in wanted if name not in given]
    require(not missing, f"{where} must hold {' and '.join(wanted)}; it lacks {' and '.join(missing)}")
    try:
        arrays = {name: np.asarray(given[name]) for name in wanted}
    except ValueError as error:
        raise UserError(f"{where}: images and labels must be arrays ({error})") from error
    for name in arrays.keys() & {"labels", "test_labels"}:
        single = arrays[name].ndim == 2 and arrays[name].shape[1] == 1  # a column, as some data sets have
        arrays[name] = arrays[name][:, 0] if single else arrays[name]
        require(arrays[name].ndim == 1, f"{where}: {name} must be [S], got {list(arrays[name].shape)}")
    classes, index = np.unique(arrays["labels"], return_inverse=True)
    require(len(classes) >= 2, f"{where}: labels must be of two or more classes, got {len(classes)}")
    train = Split(_images(arrays["images"], where), torch.from_numpy(index.reshape(-1)).long())
    _alike(train, where, "labels")
    if "test_images" in arrays and "test_labels" in arrays:
        unknown = sorted(set(arrays["test_labels"].tolist()) - set(classes.tolist()))
        require(not unknown, f"{where}: test_labels holds {unknown[:3]}, which labels does not")
        labels = torch.from_numpy(np.searchsorted(classes, arrays["test_labels"])).long()
        test = Split(_images(arrays["test_images"], where), labels)
        _alike(test, where, "test_labels")
        same = test.images.shape[1] == train.images.shape[1]
        require(same, f"{where}: test_images must be of the size of images")
    else:
        order = torch.randperm(len(train.labels), generator=generator(seed, "held out"))
        held = max(round(test_share * len(order)), 1)
        to_test, to_learn = order[:held], order[held:]
        rare = [c for c in range(len(classes)) if not (train.labels[to_learn] == c).any()]  # of each, one is learnt
        back = torch.tensor([int((train.labels[to_test] == c).nonzero()[0]) for c in rare], dtype=torch.long)
        kept = torch.ones(held, dtype=torch.bool).index_fill(0, back, False)
        require(bool(kept.any()), f"{where}: {len(order)} images are too few to hold some out for a test")
        to_test, to_learn = to_test[kept], torch.cat([to_test[~kept], to_learn])
        test, train = (Split(train.images[some], train.labels[some]) for some in (to_test, to_learn))
    return Own(tuple(classes.tolist()), train, test)


def _images(array: NDArray[Any], where: str) -> Tensor:
    require(array.ndim >= 2 and len(array) > 0, f"{where}: images must be [S, ...], got {list(array.shape)}")
    number = array.dtype.kind in "uifb"
    require(number, f"{where}: images must be numbers, got {array.dtype}")
    values = array.astype(np.float32) / (255 if array.dtype.kind in "ui" else 1)
    if values.ndim == 4:  # with colours, last or first
        first = values.shape[3] not in (1, 3, 4) and values.shape[1] in (1, 3, 4)
        values = values.mean(axis=1 if first else 3)
    require(bool(np.isfinite(values).all()), f"{where}: images must be finite numbers")
    largest = float(values.max())
    bytes_ = array.dtype.kind == "f" and values.min() >= 0 and largest > BYTES
    mend = "divide by 255, or give whole numbers"
    require(not bytes_, f"{where}: images of floats must be from 0 to 1, got {largest:g}: {mend}")
    return torch.from_numpy(np.ascontiguousarray(values.reshape(len(values), -1)))


def _alike(split: Split, where: str, name: str) -> None:
    images, labels = len(split.images), len(split.labels)
    require(images == labels, f"{where}: {name} must be as many as its images, got {labels} for {images}")
