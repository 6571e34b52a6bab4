"""Genotypes by the CUDA kernels of ``genotypes.cu``, once they have been compiled in this process."""

from pathlib import Path

import torch
from torch import Tensor

from nne.population.cuda.driver import Kernels

SOURCE = Path(__file__).with_name("genotypes.cu")
THREADS = 256
INDIVIDUALS = 64  # that one thread adds up over
_kernels: dict[torch.device, Kernels] = {}


def load(device: torch.device) -> None:
    """Have the kernels ready on a GPU.

    Raises:
        UserError: they cannot be compiled.
    """
    if device not in _kernels:
        _kernels[device] = Kernels(SOURCE, {}, device)


def loaded(device: torch.device) -> bool:
    """Whether they are ready there."""
    return device in _kernels


def draw(genes: Tensor, threshold: Tensor, always: Tensor, keys: Tensor) -> Tensor:
    """``x: [N, n]`` bool; the arguments are those of ``nne.population.cpp.kernel.draw``."""
    x = torch.empty(len(keys), len(genes), dtype=torch.bool, device=genes.device)
    given = (tensor.contiguous() for tensor in (genes, threshold, always, keys, x))
    if x.numel():
        grid = len(keys), -(-len(genes) // THREADS)  # only the first may be more than 65,535
        _kernels[x.device].launch("draw", grid, THREADS, *given, len(genes))
    return x


def pack(x: Tensor, words: int) -> Tensor:
    """``[n, words]`` int32: genotypes ``x: [N, n]`` bool as bits, 32 a word."""
    N, n = x.shape
    bits = torch.empty(n, words, dtype=torch.int32, device=x.device)
    _launch("pack", x, (words,), x.contiguous(), bits, N, n, words)
    return bits


def carrier_sums(x: Tensor, rows: Tensor) -> Tensor:
    """``[k, n]`` float64: sums over the carriers of each gene of ``x: [N, n]`` bool, of ``rows: [k, N]`` float64 that
    add up without rounding."""
    N, n = x.shape
    sums = rows.new_zeros(len(rows), n)
    shares = -(-N // INDIVIDUALS), len(rows)
    _launch("carrier_sums", x, shares, x.contiguous(), rows.contiguous(), sums, N, n, INDIVIDUALS)
    return sums


def _launch(name: str, x: Tensor, shares: tuple[int, ...], *given: Tensor | int) -> None:
    """A thread for each gene, and each of ``shares``."""
    if x.numel():
        _kernels[x.device].launch(name, (-(-x.shape[1] // THREADS), *shares), THREADS, *given)
