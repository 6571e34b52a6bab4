"""Is the C++ kernel right on this machine, and worth it? Found out when it has been compiled, and kept beside it.

A compiler can make bad code of good C++, slow or wrong. So before ``backend=auto`` takes the kernel, it must agree with
float64 and be no slower than PyTorch on a slice of the paper's work. What was found once holds for this library on this
machine, so that a run that is resumed computes as it began.
"""

import time
from collections.abc import Callable
from dataclasses import asdict

import torch

from nne.population.cpp import kernel
from nne.population.cpp.networks import CPU, KernelPopulation
from nne.population.torch import Population
from nne.population.verification import REPEATS, Check, difference, rewarding, slice_of_work
from nne.training.errors import UserError
from nne.training.io import compiler
from nne.training.io.cache import remembered

TOLERANCE = 1e-5  # of the largest logit, and of the largest reward


def objection(dtype: torch.dtype) -> str | None:
    """Why the kernel, which is loaded, should not be used in place of PyTorch in ``dtype``, if so."""
    try:
        return check(dtype).objection(TOLERANCE)
    except UserError as error:
        return str(error)


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
    everything = torch.ones(work.images.shape[1], dtype=torch.bool)
    ours = KernelPopulation(work.topology, work.W, everything)
    theirs = Population(work.topology, work.W, everything, CPU, dtype)
    error = difference(ours, work.x[:3], work.images, work.labels)
    paths = [rewarding(networks, work.x, work.images, work.labels) for networks in (ours, theirs)]
    times = [[timed(path) for path in paths] for _ in range(REPEATS)]
    return Check(error, *map(min, zip(*times, strict=True)))


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
