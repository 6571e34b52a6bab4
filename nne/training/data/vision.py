"""torchvision: sets of images by class that it can read or download, each by its own class there.

torchvision is imported only when it is needed, since it cannot be imported everywhere (a CPU-only torch beside a CUDA
torchvision raises "operator torchvision::nms does not exist").
"""

import inspect
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from nne.training.errors import UserError, require

log = logging.getLogger(__name__)

PACKAGE = "torchvision.datasets."
SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "mnist": ("MNIST", {}),
    "fashion_mnist": ("FashionMNIST", {}),
    "kmnist": ("KMNIST", {}),
    "emnist": ("EMNIST", {"split": "balanced"}),
    "qmnist": ("QMNIST", {}),
    "usps": ("USPS", {}),
    "cifar10": ("CIFAR10", {}),
}
"""By our name: the name of the class, and what else it is told."""
DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer


def download(name: str, root: Path) -> None:
    """Fetch one of ``SETS`` through torchvision, which knows its mirrors and checksums.

    Raises:
        UserError: torchvision cannot be imported, or the set cannot be downloaded.
    """
    _made(*SETS[name], root, train=True, fetch=True)


def arrays(choice: str, root: Path, fetch: bool) -> Mapping[str, Any]:
    """One of ``SETS``, or ``torchvision.datasets.<Class>``: images and labels to learn from and to be tested on.

    Args:
        choice: the name.
        root: the folder that torchvision looks for it in.
        fetch: whether it may be downloaded.

    Returns:
        ``images``, ``labels``, ``test_images`` and ``test_labels``, as ``nne.training.data.own.own`` takes them.

    Raises:
        UserError: torchvision cannot be imported, has no such set, or cannot read it here.
    """
    kind, options = SETS.get(choice, (choice.removeprefix(PACKAGE), {}))
    train, test = (_made(kind, options, root, train, fetch) for train in (True, False))
    images, labels = _images_and_labels(train, kind)
    test_images, test_labels = _images_and_labels(test, kind)
    return {"images": images, "labels": labels, "test_images": test_images, "test_labels": test_labels}


def _made(kind: str, options: dict[str, Any], root: Path, train: bool, fetch: bool) -> Any:
    """The training or the test part of a set."""
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        cure = "a torchvision built for this torch, CPU or CUDA, would"
        raise UserError(f"torchvision, which would read it, cannot be imported ({error}; {cure})") from error
    make = getattr(datasets, kind, None)
    require(inspect.isclass(make), f"torchvision.datasets has no {kind}")
    assert make is not None
    taken = inspect.signature(make).parameters
    by_flag = "train" in taken or ("split" not in taken or "split" in options)
    part = {"train": train} if by_flag else {"split": "train" if train else "test"}
    may_fetch = {"download": True} if fetch and ("download" in taken or by_flag) else {}
    if fetch:
        log.info("%s is read from %s, or downloaded to it", kind, root)
    try:
        with _impatient(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return make(root, **options, **part, **may_fetch)
    except (OSError, RuntimeError, TypeError) as error:
        raise UserError(f"torchvision.datasets.{kind} could not be read or downloaded ({error})") from error


def _images_and_labels(part: Any, kind: str) -> tuple[Any, Any]:
    """``[S, height, width]`` or ``[S, height, width, 3]`` bytes, and ``[S]`` labels: names, where they are known."""
    images, labels = getattr(part, "data", None), getattr(part, "targets", getattr(part, "labels", None))
    require(images is not None and labels is not None, f"torchvision.datasets.{kind} is not a set of images by class")
    images, labels = np.asarray(images), np.asarray(labels)
    if labels.ndim == 2:  # QMNIST: the class, and who wrote it
        labels = labels[:, 0]
    if images.ndim == 4 and images.shape[1] == 3:  # SVHN: colours first
        images = np.moveaxis(images, 1, 3)
    if kind == "EMNIST":  # as distributed, on its side
        images = images.swapaxes(1, 2)
        labels = np.array(part.classes)[labels]
    return images, labels


@contextmanager
def _impatient() -> Iterator[None]:
    """Give up on a server that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
