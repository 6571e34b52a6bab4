"""Genotypes drawn by the CUDA kernel, once it has been compiled in this process."""

from pathlib import Path

import torch
from torch import Tensor

from nne.population.cuda.driver import Kernels

SOURCE = Path(__file__).with_name("kernels.cu")
THREADS = 256
ANY = {"C": 2, "WB": 2, "WN": 1, "MAX_STEPS": 1, "STAGES": 2}  # sizes that the drawing does not depend on
_kernels: dict[torch.device, Kernels] = {}


def load(device: torch.device) -> None:
    """Have the kernel ready on a GPU.

    Raises:
        UserError: it cannot be compiled.
    """
    if device not in _kernels:
        _kernels[device] = Kernels(SOURCE, ANY, device)


def loaded(device: torch.device) -> bool:
    """Whether it is ready there."""
    return device in _kernels


def draw(genes: Tensor, threshold: Tensor, always: Tensor, keys: Tensor) -> Tensor:
    """``x: [N, n]`` bool; the arguments are those of ``nne.population.cpp.kernel.draw``."""
    x = torch.empty(len(keys), len(genes), dtype=torch.bool, device=genes.device)
    grid = -(-len(genes) // THREADS), len(keys)
    given = genes, threshold, always, keys, x, len(genes)
    _kernels[genes.device].launch(
        "draw", grid, THREADS, *(t.contiguous() if isinstance(t, Tensor) else t for t in given)
    )
    return x
