"""Hidden layers that learn before any output layer does, without an error, in place of weights from chance.

- ``competing`` (Krotov and Hopfield 2019, doi 10.1073/pnas.1820458116): for each image ``v`` the unit of the largest
  input ``I = w v`` moves towards the image, and the second one away::

      w += eta g (v - I w),    g = 1 for the first, -0.4 for the second, 0 for others

  scaled so that the largest change of a minibatch is ``eta``, which falls to zero over the epochs: their p = 2 and
  k = 2, and ReLU without a higher power.
- ``assemblies`` (Papadimitriou and Vempala 2019; Dabagia, Papadimitriou and Vempala 2022, arXiv 2110.03171): a random
  graph under a cap of ``k``. Bright pixels fire; the ``k`` units of the largest input fire; synapses from what fired to
  what fired grow by ``1 + eta``, and each unit's are then scaled to the sum that they had. Classes are shown one
  after the other, which is all that is told of labels. There are no recurrent links.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dnn.features import UNITS, RandomFeatures, k_cap
from nne.training.data.datasets import Dataset
from nne.training.io.cache import user_cache
from nne.training.logging.progress import track
from nne.training.models import plain
from nne.training.models.network import uniform
from nne.training.parts import FeaturesConfig
from nne.training.seeding import generator

SECOND = -0.4  # what the second unit moves by, of what the first does
BATCH = 100  # images
DENSITY = 0.1  # probability of each link into an assembly's units
JITTER = 0.1  # of weights, as a share, so that no two units are equal
BRIGHT = 0.5  # a pixel above this fires


class LearntFeatures(RandomFeatures, ABC):
    """Weights that the training images have made."""

    @abstractmethod
    def learn(self, images: Tensor, labels: Tensor, config: FeaturesConfig) -> Tensor:
        """All weights, ``[inputs, width]``."""

    def __init__(self, config: FeaturesConfig, seed: int, data: Dataset, dtype: torch.dtype) -> None:
        super().__init__(config, seed, data.train_images, dtype)
        self.must_fit(8 * self.inputs)
        about = hashlib.sha256(Path(__file__).read_bytes() + f"{config} {seed} {torch.__version__}".encode())
        for tensor in (data.train_images, data.train_labels):
            about.update(tensor.cpu().contiguous().numpy().tobytes())
        path = user_cache() / "features" / f"{about.hexdigest()[:24]}.safetensors"
        self._weights = kept(path, lambda: self.learn(data.train_images, data.train_labels, config)).to(self.device)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Of what was learnt."""
        for start in range(0, self.width, UNITS):
            units = slice(start, min(start + UNITS, self.width))
            yield units, self.weights[:, units]


def kept(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """What was learnt once is kept: whoever resumes, evaluates or exports a run need not learn it again."""
    try:
        return load_file(path)["weights"]  # type: ignore[no-any-return]
    except (OSError, SafetensorError, KeyError):
        weights = make()
    partial = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weights": weights.cpu()}, partial)
        partial.replace(path)
    with suppress(OSError):
        partial.unlink(missing_ok=True)
    return weights


class CompetingFeatures(LearntFeatures):
    """Krotov and Hopfield's units."""

    def learn(self, images: Tensor, labels: Tensor, config: FeaturesConfig) -> Tensor:
        """Some epochs of images in an order drawn anew."""
        w = torch.randn(self.width, self.inputs, generator=generator(self.seed, "hidden weights")).to(self.device)
        for epoch in track(range(config.epochs), "hidden layer", config.epochs):
            eta = config.eta * (1 - epoch / config.epochs)
            order = torch.randperm(len(images), generator=generator(self.seed, "hidden epoch", epoch))
            for chosen in torch.split(order.to(self.device), BATCH):
                change = competing_change(w, self.standardise(images[chosen]))
                w += eta * change / change.abs().max().clamp(min=1e-30)
        return w.T.contiguous()


def competing_change(w: Tensor, v: Tensor) -> Tensor:
    """``sum_images g (v - I w)``, ``[units, inputs]``, for images ``v: [B, inputs]``."""
    current = v @ w.T
    leaders = current.topk(min(2, len(w)), dim=1).indices
    g = torch.zeros_like(current).scatter_(1, leaders[:, :1], 1.0)
    g = g.scatter_(1, leaders[:, 1:], SECOND)
    return g.T @ v - (g * current).sum(dim=0)[:, None] * w


class Bright(nn.Module):
    """Which pixels fire."""

    def forward(self, images: Tensor) -> Tensor:
        """0 or 1 for each of ``[B, inputs]``."""
        return (images > BRIGHT).to(images.dtype)


class AssemblyFeatures(LearntFeatures):
    """Papadimitriou and Vempala's areas, without recurrent links."""

    bright: ClassVar[nn.Module] = Bright()

    def __init__(self, config: FeaturesConfig, seed: int, data: Dataset, dtype: torch.dtype) -> None:
        super().__init__(config, seed, data, dtype)
        self.standardise = self.bright

    def learn(self, images: Tensor, labels: Tensor, config: FeaturesConfig) -> Tensor:
        """Some rounds of every class, image by image."""
        stream = generator(self.seed, "hidden weights")
        shape = self.inputs, self.width
        graph = (torch.rand(shape, generator=stream) < DENSITY) * (1 + uniform(shape, JITTER, stream))
        w = graph / graph.sum(dim=0).clamp(min=1e-30)
        assert config.cap
        shown = self.bright(images).cpu()[labels.cpu().argsort(stable=True)]
        for _ in track(range(config.epochs), "hidden layer", config.epochs):
            for image in shown:
                fires = k_cap((image @ w)[None], config.cap)[0].nonzero()[:, 0]
                w[:, fires] = assembly_weights(w[:, fires], image, config.eta)
        return w.to(self.device)

    def layers(self) -> list[nn.Module]:
        """With what makes pixels fire before them."""
        return [Bright(), *plain.hidden(self.weights.T, self.cap)]


def assembly_weights(w: Tensor, image: Tensor, eta: float) -> Tensor:
    """Weights ``[inputs, k]`` of the units that fire, once synapses from what fires ``[inputs]`` have grown."""
    grown = w * (1 + eta * image[:, None])
    return grown * (w.sum(dim=0) / grown.sum(dim=0).clamp(min=1e-30))


FEATURES: dict[str, type[LearntFeatures]] = {"competing": CompetingFeatures, "assemblies": AssemblyFeatures}


def hidden_layer(config: FeaturesConfig, seed: int, data: Dataset, dtype: torch.dtype) -> RandomFeatures:
    """What lies below the output layer: random, or learnt from the training images."""
    if config.rule == "random":
        return RandomFeatures(config, seed, data.train_images, dtype)
    return FEATURES[config.rule](config, seed, data, dtype)
