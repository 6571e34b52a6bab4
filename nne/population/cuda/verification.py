"""Are the CUDA kernels right on this GPU, and worth it? Found out on a slice of the paper's work, and kept."""

import hashlib
import logging
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch

from nne.population.base import Networks
from nne.population.cuda import genotypes
from nne.population.cuda.networks import CudaPopulation
from nne.population.torch import Population
from nne.population.verification import REPEATS, Check, Work, difference, rewarding, slice_of_work
from nne.training.errors import UserError
from nne.training.io.cache import remembered, user_cache

log = logging.getLogger(__name__)

OLDEST = (8, 0)  # compute capability: bfloat16 by tensor cores, and copies into shared memory that nobody waits for
TOLERANCE = 2e-2  # of the largest logit, and of the largest reward: bfloat16 has 8 bits


def missing(device: torch.device) -> str | None:
    """Why the kernels cannot be had on a device, if so; else they are ready."""
    if device.type != "cuda":
        return "it is for a GPU"
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST:
        return f"the GPU has compute capability {capability[0]}.{capability[1]}, and it needs {OLDEST[0]}.{OLDEST[1]}"
    try:
        genotypes.load(device)
    except (UserError, RuntimeError) as error:
        return str(error)
    return None


@cache
def objection(device: torch.device) -> str | None:
    """Why the kernels, which are ready, should not be used in place of PyTorch, if so.

    What was found once is kept for this GPU, these versions and these kernels.
    """
    try:
        return Check(**remembered(kept(device), lambda: asdict(measure(device)))).objection(TOLERANCE)
    except (UserError, RuntimeError) as failure:
        return str(failure)
    except (OSError, ValueError, TypeError) as error:
        return f"its check cannot be kept ({error})"


def kept(device: torch.device) -> Path:
    """The file in the user's cache that a check is kept in."""
    properties = torch.cuda.get_device_properties(device)
    kernels = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.cu")))
    about = f"{properties.name} {properties.total_memory} {torch.__version__} {torch.version.cuda}".encode()
    return user_cache() / "kernels" / f"cuda-{hashlib.sha256(about + kernels).hexdigest()[:16]}.json"


def measure(device: torch.device) -> Check:
    """Measure now."""
    work = slice_of_work()
    seen = torch.ones(work.images.shape[1], dtype=torch.bool)
    ours = CudaPopulation(work.topology, work.W, seen, device)
    error = difference(ours, work.x[:3], work.images, work.labels)
    theirs = Population(work.topology, work.W, seen, device, torch.bfloat16)
    check = Check(error, *(seconds(networks, work) for networks in (ours, theirs)))
    log.debug("on a slice of work: %s", check)
    return check


def seconds(networks: Networks, work: Work) -> float:
    """The least of several times that an evaluation takes on the GPU."""
    device = networks.device
    path = rewarding(networks, work.x.to(device), work.images.to(device), work.labels.to(device))
    times = []
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        path()
        end.record()
        end.synchronize()
        times.append(float(start.elapsed_time(end)) / 1000)
    return min(times)
