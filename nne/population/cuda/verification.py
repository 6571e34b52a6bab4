"""Are the CUDA kernels right on this GPU, and worth it? Found out on a slice of the paper's work, once in a process."""

import logging
from functools import cache

import torch

from nne.population.base import Networks
from nne.population.cpp.verification import REPEATS, Work, difference, rewarding, slice_of_work
from nne.population.cuda import genotypes
from nne.population.cuda.networks import CudaPopulation
from nne.population.torch import Population
from nne.training.errors import UserError

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
    """Why the kernels, which are ready, should not be used in place of PyTorch, if so."""
    work = slice_of_work()
    seen = torch.ones(work.images.shape[1], dtype=torch.bool)
    try:
        ours = CudaPopulation(work.topology, work.W, seen, device)
        error = difference(ours, work.x[:3], work.images, work.labels)
        if not error <= TOLERANCE:
            return f"it differs from float64 by {error:.0e}, more than {TOLERANCE:.0e}"
        theirs = Population(work.topology, work.W, seen, device, torch.bfloat16)
        by_kernel, by_torch = (milliseconds(networks, work) for networks in (ours, theirs))
    except (UserError, RuntimeError) as failure:
        return str(failure)
    log.debug("on a slice of work the kernels take %.3f ms, PyTorch %.3f", by_kernel, by_torch)
    slower = f"it is slower here: {by_kernel:.2f} ms against {by_torch:.2f} ms"
    return slower if by_kernel > by_torch else None


def milliseconds(networks: Networks, work: Work) -> float:
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
        times.append(float(start.elapsed_time(end)))
    return min(times)
