"""Genotypes from counters: the right bits, the right statistics, and any part on its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nne.genome import draw, fixed_fraction, heterozygosity, initial_frequencies
from nne.training.seeding import key


def reference_draw(p: np.ndarray, seed: int, generation: int, individual: int) -> np.ndarray:
    """The same counter hash in plain unsigned integers of numpy and Python."""
    mask = 2**64 - 1
    z = (individual * 0x9E3779B97F4A7C15 + key(seed, "genotypes", generation)) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    z ^= z >> 31

    def scramble(u: np.ndarray) -> np.ndarray:
        u = u ^ (u >> np.uint32(16))
        u = u * np.uint32(0x7FEB352D)
        u = u ^ (u >> np.uint32(15))
        u = u * np.uint32(0x846CA68B)
        return u ^ (u >> np.uint32(16))

    gene = np.arange(len(p), dtype=np.uint32) * np.uint32(0x9E3779B9)
    u = scramble(scramble(gene + np.uint32(z & 0xFFFFFFFF)) + np.uint32(z >> 32))
    signed = u.view(np.int32).astype(np.int64)  # the comparison is of signed integers: uniform all the same
    return signed < np.rint(p * 2.0**32) - 2**31


@given(st.integers(0, 2**40), st.integers(0, 10**6), st.integers(0, 10**7), st.integers(1, 200))
def test_draw_equals_the_plain_integer_reference(seed: int, generation: int, individual: int, n: int) -> None:
    p = initial_frequencies(n, seed)
    x = draw(p, seed, generation, range(individual, individual + 1))[0]
    np.testing.assert_array_equal(x.numpy(), reference_draw(p.numpy(), seed, generation, individual))


@given(st.integers(0, 90), st.integers(1, 40))
def test_any_part_of_a_population_can_be_drawn_alone(start: int, count: int) -> None:
    p = initial_frequencies(50, 1)
    whole = draw(p, 7, 3, range(130))
    assert torch.equal(draw(p, 7, 3, range(start, start + count)), whole[start : start + count])


def test_seed_generation_and_stream_each_change_the_draw() -> None:
    p = torch.full((400,), 0.5, dtype=torch.float64)
    base = draw(p, 0, 0, range(50)).double()
    others = draw(p, 1, 0, range(50)), draw(p, 0, 1, range(50)), draw(p, 0, 0, range(50), stream="test")
    for other in others:
        agreement = (base == other.double()).double().mean()
        assert abs(agreement - 0.5) < 5 * 0.5 / 20_000**0.5


def test_alleles_have_the_right_frequencies() -> None:
    p = initial_frequencies(3000, 0)
    x = draw(p, 0, 5, range(4000)).double()
    z = (x.mean(dim=0) - p) / (p * (1 - p) / 4000).sqrt()
    assert abs(float(z.mean())) < 5 / 3000**0.5
    assert abs(float(z.var()) - 1) < 5 * (2 / 3000) ** 0.5
    assert float(z.abs().max()) < 5.5


@pytest.mark.parametrize("axis", ["genes", "individuals", "generations"])
def test_alleles_are_independent_along_each_axis(axis: str) -> None:
    p = torch.full((512,), 0.5, dtype=torch.float64)
    if axis == "generations":
        x = torch.stack([draw(p, 0, t, range(1))[0] for t in range(512)]).double()
    else:
        x = draw(p, 0, 0, range(512)).double()
    x = x if axis == "genes" else x.T
    correlation = torch.corrcoef(x.T)
    off = correlation[~torch.eye(512, dtype=torch.bool)] * 512**0.5
    assert abs(float(off.var()) - 1) < 0.05
    assert float(off.abs().max()) < 6.5


def test_fixed_alleles_never_vary() -> None:
    p = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert torch.equal(draw(p, 0, 0, range(100_000)).double().mean(dim=0), p)


def test_heterozygosity_and_fixation() -> None:
    p = torch.tensor([0.0, 0.005, 0.5, 0.995], dtype=torch.float64)
    assert float(heterozygosity(p)) == pytest.approx((2 * 0.005 * 0.995 + 0.5 + 2 * 0.995 * 0.005) / 4)
    assert fixed_fraction(p) == 0.75
