"""The Gram matrix of the hidden layer: all that unit-batch plasticity of the output layer ever sees of it.

A presentation of training image s adds ``psi(s) u_s^T`` to the output weights, where ``psi`` is the hidden firing
``h`` or ``1[h > 0]``. So the weights are ``w = w_0 + sum_s psi(s) a_s^T`` with ``a: [S, C]``, and the logits of
any image t are

    o(t) = w_0^T h(t) + sum_s K(t, s) a_s,      K(t, s) = h(t) . psi(s)

whatever the width of the layer; for an infinite one, K has a closed form (Cho and Saul 2009).
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dnn.activity import Census, Count, expected
from dnn.config import DopamineConfig
from dnn.features import RandomFeatures, standardiser
from nne.training.config import FeaturesConfig
from nne.training.data.datasets import Dataset
from nne.training.device import free_memory
from nne.training.errors import require
from nne.training.logging.progress import track
from nne.training.models.output_layer import Firing, Seen, dense, project

log = logging.getLogger(__name__)
TEST_ROWS = 1000
WHOLE_COPIES = 4  # of the hidden layer on the training images, at most, while a capped one is summed


@dataclass(frozen=True)
class Gram:
    """Of ``S`` training and ``T`` test images.

    train, test: ``K``, ``[S, S]`` and ``[T, S]`` float32.
    train_base, test_base: ``w_0^T h``, ``[S, C]`` and ``[T, C]``, logits of the weights to begin with.
    psi, psi_base: ``psi(s) . psi(t)``, ``[S, S]``, and ``w_0^T psi``, ``[S, C]``; equal to the above unless binary.
    start: ``[C]``, the squared lengths of ``w_0``.
    census: how much of the layer fires.
    """

    train: Tensor
    test: Tensor
    train_base: Tensor
    test_base: Tensor
    psi: Tensor
    psi_base: Tensor
    start: Tensor
    census: Census


_latest: dict[str, Gram] = {}


def gram(config: FeaturesConfig, seed: int, own: DopamineConfig, data: Dataset) -> Gram:
    """The Gram matrix of a random hidden layer; the latest is kept, since a sweep over rules asks for it again."""
    pixels = hashlib.sha256(data.train_images.cpu().numpy().tobytes() + data.test_images.cpu().numpy().tobytes())
    key = f"{config} {seed} {own.presynaptic} {own.initial} {data.train_images.device} {pixels.hexdigest()}"
    if key not in _latest:
        _latest.clear()
        _must_fit(data)
        start = time.perf_counter()
        _latest[key] = _infinite(config, own, data) if config.width == math.inf else _finite(config, seed, own, data)
        log.info("Gram matrix of %s hidden units made in %.1f s", f"{config.width:,}", time.perf_counter() - start)
    return _latest[key]


def _must_fit(data: Dataset) -> None:
    """Raise ``UserError`` unless the matrix itself fits in memory; twice, for what is made on the way."""
    images, tests = len(data.train_labels), len(data.test_labels)
    needed, free = 8 * images * (images + tests), free_memory(data.train_images.device)
    require(
        needed <= free,
        f"the Gram matrix of {images} training and {tests} test images needs {needed / 2**30:.1f} GiB, and "
        f"{free / 2**30:.1f} GiB are free: set data.per_class lower than {images // len(data.classes)}, or "
        "learner.path=primal",
    )


def _finite(config: FeaturesConfig, seed: int, own: DopamineConfig, data: Dataset) -> Gram:
    """Summed over blocks of hidden units; under a cap, which looks at the whole layer, in one block."""
    features = RandomFeatures(config, seed, data.train_images, torch.float32)
    if config.cap:
        features.must_fit(4 * features.inputs + 4 * len(data.train_labels) * WHOLE_COPIES)
    start = features.output_weights(len(data.classes), own.initial)
    sums = _Sums(data, features.width, own.presynaptic == "binary")
    for units, weights in track(features.parts(), "hidden units", 1 if config.cap else features.count):
        sums.add(units, features.firing(weights), start[units])
    return sums.gram()


class _Sums:
    """Of products of activities, over hidden units."""

    def __init__(self, data: Dataset, width: int, binary: bool) -> None:
        images, tests, classes = len(data.train_labels), len(data.test_labels), len(data.classes)
        self.data, self.width, self.binary = data, width, binary
        self.count = Count(data.train_labels, width)
        zeros = data.train_images.new_zeros
        self.train, self.test = zeros(images, images), zeros(tests, images)
        self.train_base, self.test_base = zeros(images, classes), zeros(tests, classes)
        self.psi = zeros(images, images) if binary else self.train
        self.psi_base = zeros(images, classes) if binary else self.train_base
        self.start = zeros(classes)

    def add(self, units: slice, see: Callable[[Tensor], Seen], start: Tensor) -> None:
        """Some more hidden units, and the output weights ``start: [units, C]`` that they begin with."""
        h = dense(see(self.data.train_images), len(start))
        fires = (h > 0).float()
        psi = fires if self.binary else h
        self.train.addmm_(h, psi.T)
        self.train_base.addmm_(h, start)
        if self.binary:
            self.psi.addmm_(psi, psi.T)
            self.psi_base.addmm_(psi, start)
        self.start += start.square().sum(dim=0)
        for rows in torch.split(torch.arange(len(self.test), device=h.device), TEST_ROWS):
            seen = see(self.data.test_images[rows])
            self.test[rows] += project(seen, psi.T.contiguous() if isinstance(seen, Firing) else psi.T)
            self.test_base[rows] += project(seen, start)
        self.count.add(units, fires)

    def gram(self) -> Gram:
        """What has been summed."""
        products = self.train, self.test, self.train_base, self.test_base, self.psi, self.psi_base
        return Gram(*products, self.start, self.count.result())


def _infinite(config: FeaturesConfig, own: DopamineConfig, data: Dataset) -> Gram:
    """The mean over infinitely many hidden units, so ``h`` counts as divided by the root of their number."""
    standardise = standardiser(config, data.train_images)
    train, test = standardise(data.train_images), standardise(data.test_images)
    angle, length = _angle(train, train), train.norm(dim=1)
    binary = own.presynaptic == "binary"
    kernel = mixed_arc_cosine if binary else arc_cosine
    deviation = (2 / train.shape[1]) ** 0.5  # of a Kaiming uniform weight
    K = kernel(angle, deviation * length, deviation * length)
    none = train.new_zeros(len(train), len(data.classes))
    return Gram(
        train=K,
        test=kernel(_angle(test, train), deviation * test.norm(dim=1), deviation * length),
        train_base=none,
        test_base=test.new_zeros(len(test), len(data.classes)),
        psi=(math.pi - angle) / (2 * math.pi) if binary else K,
        psi_base=none,
        start=none.new_zeros(len(data.classes)),
        census=expected(1 - angle / math.pi, data.train_labels),
    )


def arc_cosine(angle: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``E relu(w.x) relu(w.y)`` for ``w ~ N(0, I)``, from the angle ``[T, S]`` and norms ``[T], [S]`` of x and y.

    ``|x| |y| (sin a + (pi - a) cos a) / (2 pi)``, order 1 of Cho and Saul (2009).
    """
    return x[:, None] * y * (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi)


def mixed_arc_cosine(angle: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``E relu(w.x) 1[w.y > 0] = |x| (1 + cos a) / (2 sqrt(2 pi))``, between orders 1 and 0."""
    return x[:, None] * (1 + angle.cos()) / (2 * math.sqrt(2 * math.pi)) * torch.ones_like(y)


def _angle(x: Tensor, y: Tensor) -> Tensor:
    """Angles between the rows of two matrices, in double precision: near 0 the cosine tells little."""
    u, v = (torch.nn.functional.normalize(a.double(), dim=1) for a in (x, y))
    return (u @ v.T).clamp(-1, 1).acos().float()
