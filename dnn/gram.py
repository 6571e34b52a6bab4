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
from typing import NamedTuple

import torch
from torch import Tensor

from dnn.activity import ActivityCounter, ActivityStats, expected
from dnn.config import DopamineConfig
from dnn.features import standardiser
from dnn.hebbian import hidden_layer
from nne.training.data.datasets import Dataset
from nne.training.device import free_memory
from nne.training.errors import require
from nne.training.logging.progress import track
from nne.training.models.output_layer import Features, dense, project
from nne.training.parts import FeaturesConfig

log = logging.getLogger(__name__)
TEST_ROWS = 1000
WHOLE_COPIES = 4  # of the hidden layer on the training images, at most, while a capped one is summed


class Cross(NamedTuple):
    """Between ``T`` images of any kind and the ``S`` training images: ``K: [T, S]``, and ``base = w_0^T h: [T, C]``."""

    K: Tensor
    base: Tensor


class Across:
    """``Cross`` of any images, computed when it is asked for; that of the images last asked for is kept."""

    def __init__(self, compute: Callable[[Tensor], Cross]) -> None:
        self.compute = compute
        self._latest: tuple[Tensor, Cross] | None = None

    def __call__(self, images: Tensor) -> Cross:
        """Of images ``[T, inputs]``."""
        if self._latest is None or not (self._latest[0] is images or torch.equal(self._latest[0], images)):
            self._latest = images, self.compute(images)
        return self._latest[1]


@dataclass(frozen=True)
class Gram:
    """Of ``S`` training images.

    train: ``K``, ``[S, S]`` float32.
    base: ``w_0^T h``, ``[S, C]``, logits of the weights to begin with.
    psi, psi_base: ``psi(s) . psi(t)``, ``[S, S]``, and ``w_0^T psi``, ``[S, C]``; equal to the above unless binary.
    start: ``[C]``, the squared lengths of ``w_0``.
    activity: how much of the layer fires.
    across: from any images to their ``Cross`` with the training images.
    """

    train: Tensor
    base: Tensor
    psi: Tensor
    psi_base: Tensor
    start: Tensor
    activity: ActivityStats
    across: Across


_latest: dict[str, Gram] = {}


def gram(config: FeaturesConfig, seed: int, learner_config: DopamineConfig, data: Dataset) -> Gram:
    """The Gram matrix of a random hidden layer, also with the test images.

    The latest is kept, since a sweep over rules asks for it again.
    """
    known = hashlib.sha256(str(data.classes).encode())
    for of_images in (data.train_images, data.train_labels):
        known.update(of_images.cpu().numpy().tobytes())
    settings = f"{config} {seed} {learner_config.presynaptic} {learner_config.initial}"
    key = f"{settings} {data.train_images.device} {known.hexdigest()}"
    if key not in _latest:
        _latest.clear()
        _must_fit(data)
        start = time.perf_counter()
        _latest[key] = (
            _infinite(config, learner_config, data)
            if config.width == math.inf
            else _finite(config, seed, learner_config, data)
        )
        _latest[key].across(data.test_images)
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


def _finite(config: FeaturesConfig, seed: int, learner_config: DopamineConfig, data: Dataset) -> Gram:
    """Summed over blocks of hidden units; under a cap, which looks at the whole layer, in one block."""
    features = hidden_layer(config, seed, data, torch.float32)
    if config.cap:
        features.must_fit(4 * features.inputs + 4 * len(data.train_labels) * WHOLE_COPIES)
    start = features.output_weights(len(data.classes), learner_config.initial)
    sums = _Sums(data, features.width, learner_config.presynaptic == "binary")
    for units, weights in track(features.parts(), "hidden units", 1 if config.cap else features.count):
        sums.add(units, features.firing(weights), start[units])
    return sums.gram(Across(lambda images: _cross(config, seed, learner_config, data, images)))


def _cross(config: FeaturesConfig, seed: int, learner_config: DopamineConfig, data: Dataset, images: Tensor) -> Cross:
    """Summed over the same blocks."""
    features = hidden_layer(config, seed, data, torch.float32)
    start = features.output_weights(len(data.classes), learner_config.initial)
    K = images.new_zeros(len(images), len(data.train_labels))
    base = images.new_zeros(len(images), len(data.classes))
    for units, weights in track(features.parts(), "hidden units", 1 if config.cap else features.count):
        fire = features.firing(weights)
        h = dense(fire(data.train_images), weights.shape[1])
        psi = (h > 0).float() if learner_config.presynaptic == "binary" else h
        across = psi.T.contiguous() if config.cap else psi.T
        for rows in torch.split(torch.arange(len(images), device=images.device), TEST_ROWS):
            seen = fire(images[rows])
            K[rows] += project(seen, across)
            base[rows] += project(seen, start[units])
    return Cross(K, base)


class _Sums:
    """Of products of activities, over hidden units."""

    def __init__(self, data: Dataset, width: int, binary: bool) -> None:
        images, classes = len(data.train_labels), len(data.classes)
        self.data = data
        self.binary = binary
        self.count = ActivityCounter(data.train_labels, width)
        zeros = data.train_images.new_zeros
        self.train = zeros(images, images)
        self.base = zeros(images, classes)
        self.psi = zeros(images, images) if binary else self.train
        self.psi_base = zeros(images, classes) if binary else self.base
        self.start = zeros(classes)

    def add(self, units: slice, see: Callable[[Tensor], Features], start: Tensor) -> None:
        """Some more hidden units, and the output weights ``start: [units, C]`` that they begin with."""
        h = dense(see(self.data.train_images), len(start))
        fires = (h > 0).float()
        psi = fires if self.binary else h
        self.train.addmm_(h, psi.T)
        self.base.addmm_(h, start)
        if self.binary:
            self.psi.addmm_(psi, psi.T)
            self.psi_base.addmm_(psi, start)
        self.start += start.square().sum(dim=0)
        self.count.add(units, fires)

    def gram(self, across: Across) -> Gram:
        """What has been summed."""
        return Gram(self.train, self.base, self.psi, self.psi_base, self.start, self.count.result(), across)


def _infinite(config: FeaturesConfig, learner_config: DopamineConfig, data: Dataset) -> Gram:
    """The mean over infinitely many hidden units, so ``h`` counts as divided by the root of their number."""
    standardise = standardiser(config, data.train_images)
    train = standardise(data.train_images)
    angle, length = _angle(train, train), train.norm(dim=1)
    binary = learner_config.presynaptic == "binary"
    kernel = mixed_arc_cosine if binary else arc_cosine
    deviation = (2 / train.shape[1]) ** 0.5  # of a Kaiming uniform weight
    K = kernel(angle, deviation * length, deviation * length)
    none = train.new_zeros(len(train), len(data.classes))

    def cross(images: Tensor) -> Cross:
        others = standardise(images)
        K = kernel(_angle(others, train), deviation * others.norm(dim=1), deviation * length)
        return Cross(K, others.new_zeros(len(others), len(data.classes)))

    return Gram(
        train=K,
        base=none,
        psi=(math.pi - angle) / (2 * math.pi) if binary else K,
        psi_base=none,
        start=none.new_zeros(len(data.classes)),
        activity=expected(1 - angle / math.pi, data.train_labels),
        across=Across(cross),
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
