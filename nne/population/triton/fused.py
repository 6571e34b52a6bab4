"""``kernels.py``, where it can be had, and genotypes drawn by it."""

import os
from types import ModuleType

import torch
from torch import Tensor

BLOCK = 512  # genes that a program draws, and genotypes that it expresses
_loaded: list[ModuleType] = []


def load(device: torch.device) -> str | None:
    """Have the kernels ready; else why they cannot be had."""
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        return "it is for a GPU; on a CPU it can only be checked, very slowly, with TRITON_INTERPRET=1"
    try:
        from nne.population.triton import kernels
    except ImportError as error:
        return f"Triton cannot be imported ({error}); pip install triton"
    _loaded[:] = [kernels]
    return None


def loaded() -> bool:
    """Whether this process has them."""
    return bool(_loaded)


def kernels() -> ModuleType:
    """The module of kernels, once loaded."""
    (module,) = _loaded
    return module


def draw(genes: Tensor, threshold: Tensor, always: Tensor, keys: Tensor) -> Tensor:
    """``x: [N, n]`` bool; the arguments are those of ``nne.population.cpp.kernel.draw``."""
    x = torch.empty(len(keys), len(genes), dtype=torch.int8, device=genes.device)
    grid = len(keys), -(-len(genes) // BLOCK)
    kernels().draw[grid](genes, threshold, always.char(), keys, x, len(genes), BLOCK=BLOCK)
    return x.bool()
