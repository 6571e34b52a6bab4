"""Are the project's own kernels right on this machine, and worth it? On a slice of the paper's work, beside PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nne.fitness import reward
from nne.genome import draw, initial_frequencies
from nne.population.base import Networks, SparseNetworks
from nne.population.weights import WeightMatrix, sparse_weight_matrix
from nne.training.models.network import Topology, sparse_topology
from nne.training.parts import NetworkConfig
from nne.training.seeding import generator

PIXELS, CLASSES, LIT = 784, 10, 0.2  # a network's input like MNIST's: a fifth of the pixels is not black
GENES, INDIVIDUALS, IMAGES, REPEATS = 5000, 256, 128, 5


@dataclass(frozen=True)
class Check:
    """The largest error relative to float64, and seconds of the same work by the kernel and by PyTorch."""

    error: float
    kernel_seconds: float
    torch_seconds: float

    def objection(self, tolerance: float) -> str | None:
        """Why the kernel should not be used, if its error may be ``tolerance``, and if so."""
        if not self.error <= tolerance:
            return f"it differs from float64 by {self.error:.0e}, more than {tolerance:.0e}"
        ours, theirs = 1000 * self.kernel_seconds, 1000 * self.torch_seconds
        return f"it is slower here: {ours:.3g} ms against {theirs:.3g} ms" if ours > theirs else None


class Work(NamedTuple):
    """A slice of the paper's work: a network, and genotypes and images to evaluate."""

    topology: Topology
    W: WeightMatrix
    x: Tensor
    images: Tensor
    labels: Tensor


def slice_of_work() -> Work:
    """The same on every machine."""
    stream = generator(0, "kernel check")
    images = torch.rand(IMAGES, PIXELS, generator=stream) * (torch.rand(IMAGES, PIXELS, generator=stream) < LIT)
    labels = torch.randint(CLASSES, (IMAGES,), generator=stream)
    topology = sparse_topology(PIXELS, NetworkConfig(), CLASSES, seed=0)
    W = sparse_weight_matrix(topology.links, GENES, NetworkConfig().beta, seed=0)
    x = draw(initial_frequencies(GENES, seed=0), 0, 0, range(INDIVIDUALS))
    return Work(topology, W, x, images, labels)


def difference(networks: SparseNetworks, x: Tensor, images: Tensor, labels: Tensor) -> float:
    """The largest error of logits and rewards, each relative to the largest of its kind in float64."""
    weights = networks.whole.weights(x).T.double()
    (hidden, outputs) = networks.topology.matrices(weights)
    logits = outputs @ (hidden @ images.double().T).relu()
    expected = reward(logits, labels, 1.0).sum(dim=1)
    device = networks.device
    seen, x = networks.gather(images.to(device)), x.to(device)
    ours = networks.logits(x, seen).cpu(), networks.rewards(x, seen, labels.to(device), 1.0).cpu()
    pairs = zip(ours, (logits, expected), strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in pairs)


def rewarding(networks: Networks, x: Tensor, images: Tensor, labels: Tensor) -> Callable[[], object]:
    """The evaluation of a population."""

    def rewards(tile: Tensor, seen: Any, which: slice) -> Tensor:
        return networks.rewards(tile, seen, labels[which], 1.0)

    return lambda: list(
        networks.evaluate(lambda individuals: x[individuals.start : individuals.stop], range(len(x)), images, rewards)
    )
