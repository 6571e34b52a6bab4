"""The genome: allele frequencies ``p`` and the genotypes drawn from them (Sec. 2).

A genotype is ``x`` in {0, 1}^n with ``x(i) = 1`` with probability ``p(i)``, independently for each gene ``i``.
Each allele comes from a counter: it is a function of (seed, generation, individual, gene) alone. Any part of
any population can therefore be drawn again, on any worker and any device, with the same bits; nothing random
is ever stored.

Shapes: ``p: [n]`` float64, ``x: [N, n]`` bool.
"""

import torch
from torch import Tensor

from nne.population.cpp import kernel
from nne.population.cuda import genotypes
from nne.training.seeding import generator, key

GOLDEN_32 = 0x9E3779B9
GOLDEN_64 = 0x9E3779B97F4A7C15


def initial_frequencies(n: int, seed: int) -> Tensor:
    """``p^1``, uniform in [0, 1]^n (Sec. 3.1)."""
    return torch.rand(n, generator=generator(seed, "frequencies"), dtype=torch.float64)


def draw(
    p: Tensor, seed: int, generation: int, individuals: range, stream: str = "genotypes", genes: Tensor | None = None
) -> Tensor:
    """The genotypes of some individuals of one generation, ``x: [len(individuals), n]``.

    A 32-bit integer hash of the gene, keyed with 64 bits for the individual, is compared with ``p`` in steps of
    2^-32. ``stream`` keeps the individuals drawn for a test apart from those drawn to evolve. ``genes``: which of the
    genome's genes the entries of ``p`` are, if not all.
    """
    return draw_keyed(p, key(seed, stream, generation), individuals, genes)


def draw_keyed(p: Tensor, key: int | Tensor, individuals: range, genes: Tensor | None = None) -> Tensor:
    """The same, by the key of seed, stream and generation: an integer, or a tensor int64.

    Of ``K`` islands, with keys ``[K]`` and ``p: [K, n]``, the genotypes are ``[K, len(individuals), n]``.
    """
    first, second = _individual_keys(key, individuals, p.device)
    which = torch.arange(p.shape[-1], dtype=torch.int32, device=p.device) if genes is None else genes.int()
    threshold = (p * 2.0**32).round().long() - 2**31
    always = threshold == 2**31
    threshold = threshold.clamp(max=2**31 - 1).int()
    on_cpu = kernel.loaded() and p.device.type == "cpu"
    if on_cpu or genotypes.loaded(p.device):
        by_kernel, keys = kernel.draw if on_cpu else genotypes.draw, torch.stack([first, second], dim=-1)
        if p.dim() == 1:
            return by_kernel(which, threshold, always, keys)
        return torch.stack([by_kernel(which, *island) for island in zip(threshold, always, keys, strict=True)])
    u = which * _signed(GOLDEN_32, 32) + first[..., None]
    u = _scramble(_scramble(u).add_(second[..., None]))
    return u.lt(threshold[..., None, :]).logical_or_(always[..., None, :])


def heterozygosity(p: Tensor) -> Tensor:
    """Mean over genes of ``2 p (1 - p)``: 1/3 for the uniform start, 0 once every allele is fixed."""
    return (2 * p * (1 - p)).mean(dim=-1)


def fixed_fraction(p: Tensor, margin: float = 0.01) -> Tensor:
    """Share of genes whose allele frequency is within ``margin`` of 0 or 1 (Fig. 2)."""
    return (torch.minimum(p, 1 - p) <= margin).double().mean(dim=-1)


def _individual_keys(base: int | Tensor, individuals: range, device: torch.device) -> tuple[Tensor, Tensor]:
    """Two 32-bit keys for each individual, by SplitMix64 (Steele, Lea and Flood 2014) at ``base + individual``."""
    z = torch.arange(individuals.start, individuals.stop, dtype=torch.int64, device=device)
    z = z * _signed(GOLDEN_64, 64) + (base[..., None] if isinstance(base, Tensor) else base)
    z = (z ^ _shift_right(z, 30, 64)) * _signed(0xBF58476D1CE4E5B9, 64)
    z = (z ^ _shift_right(z, 27, 64)) * _signed(0x94D049BB133111EB, 64)
    z = z ^ _shift_right(z, 31, 64)
    return z.int(), (z >> 32).int()


def _scramble(u: Tensor) -> Tensor:
    """The 32-bit finaliser "lowbias32" (C. Wellons, 2018), in place on int32."""
    u ^= _shift_right(u, 16, 32)
    u *= _signed(0x7FEB352D, 32)
    u ^= _shift_right(u, 15, 32)
    u *= _signed(0x846CA68B, 32)
    u ^= _shift_right(u, 16, 32)
    return u


def _shift_right(u: Tensor, by: int, bits: int) -> Tensor:
    """Logical shift to the right of a signed tensor."""
    return (u >> by).bitwise_and_((1 << (bits - by)) - 1)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
