"""Is the C++ kernel right on this machine, and worth it? Found out when it has been compiled, and kept beside it.

A compiler can make bad code of good C++, slow or wrong. So before ``backend=auto`` takes the kernel, it must agree with
float64 and be no slower than PyTorch on a slice of the paper's work. What was found once holds for this library on this
machine, so that a run that is resumed computes as it began.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nne.fitness import reward
from nne.genome import draw, initial_frequencies
from nne.population.base import Networks, SparseNetworks
from nne.population.cpp import kernel
from nne.population.cpp.networks import CPU, KernelPopulation
from nne.population.torch import Population
from nne.population.weights import WeightMatrix, sparse_weight_matrix
from nne.training.errors import UserError
from nne.training.io import compiler
from nne.training.io.cache import remembered
from nne.training.models.network import Topology, sparse_topology
from nne.training.parts import NetworkConfig
from nne.training.seeding import generator

PIXELS, CLASSES, LIT = 784, 10, 0.2  # a network's input like MNIST's: a fifth of the pixels is not black
GENES, INDIVIDUALS, IMAGES, REPEATS = 5000, 256, 128, 5
TOLERANCE = 1e-5  # of the largest logit, and of the largest reward


@dataclass(frozen=True)
class Check:
    """The largest error relative to float64, and seconds of the same work by the kernel and by PyTorch."""

    error: float
    kernel_seconds: float
    torch_seconds: float

    @property
    def objection(self) -> str | None:
        """Why the kernel should not be used, if so."""
        if not self.error <= TOLERANCE:
            return f"it differs from float64 by {self.error:.0e}, more than {TOLERANCE:.0e}"
        if self.kernel_seconds > self.torch_seconds:
            return f"it is slower here: {1e3 * self.kernel_seconds:.0f} ms against {1e3 * self.torch_seconds:.0f} ms"
        return None


def check(dtype: torch.dtype) -> Check:
    """What was found when the kernel was new, against PyTorch in ``dtype``; the kernel must be loaded.

    Raises:
        UserError: it has not been compiled, and cannot be; or what is found cannot be kept.
    """
    library = compiler.compiled(kernel.SOURCE)
    kept = library.with_name(f"{library.stem}-{str(dtype).removeprefix('torch.')}.json")
    try:
        return Check(**remembered(kept, lambda: asdict(measure(dtype))))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"its check in {kept} cannot be kept ({error})") from error


def measure(dtype: torch.dtype) -> Check:
    """Measure now."""
    work = slice_of_work()
    everything = torch.ones(PIXELS, dtype=torch.bool)
    ours = KernelPopulation(work.topology, work.W, everything)
    theirs = Population(work.topology, work.W, everything, CPU, dtype)
    error = difference(ours, work.x[:3], work.images, work.labels)
    paths = [rewarding(networks, work.x, work.images, work.labels) for networks in (ours, theirs)]
    times = [[timed(path) for path in paths] for _ in range(REPEATS)]
    return Check(error, *map(min, zip(*times, strict=True)))


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


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
