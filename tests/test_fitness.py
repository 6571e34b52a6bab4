"""Fitness, allele means, eq. (3), and Lemma 1 by enumeration of every genotype."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nne.fitness import TRANSFORMS, carrier_sums, rank, reward, round_for_exact_sum, standardise
from nne.learners import config
from nne.selection import weak_selection
from tests.shapes import means_of


def test_reward_is_the_papers_clipped_relative_loss() -> None:
    logits = torch.randn(3, 10, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 8
    labels = torch.arange(7)
    alpha = -math.log(1 / 10)
    for n, s in itertools.product(range(3), range(7)):
        z = torch.softmax(logits[n, :, s] / 2.5, dim=0)
        expected = max(0.0, alpha**2 + math.log(z[labels[s]]))
        assert float(reward(logits, labels, 2.5)[n, s]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert float(reward(torch.zeros(1, 10, 1), torch.tensor([3]), 1.0)) == pytest.approx(alpha**2 - alpha)


def test_transforms() -> None:
    delta = torch.tensor([3.0, 1.0, 2.0, 2.0, 10.0], dtype=torch.float64)
    z = standardise(delta)
    assert float(z.mean()) == pytest.approx(0, abs=1e-12)
    assert float(z.square().mean()) == pytest.approx(1)
    places = rank(delta)
    assert places.argsort(stable=True).tolist() == [1, 2, 3, 0, 4]
    assert places[2] == places[3]
    torch.testing.assert_close(places, rank(delta.exp()))
    assert TRANSFORMS["none"](delta) is delta
    assert list(TRANSFORMS) == config.TRANSFORMS
    assert torch.equal(standardise(torch.ones(4)), torch.zeros(4))
    assert torch.equal(rank(torch.ones(4)), torch.zeros(4))


@given(st.integers(1, 12), st.integers(1, 30), st.integers(1, 9), st.integers(0, 10**6))
def test_allele_means_are_the_papers_fractions(genes: int, individuals: int, tile: int, seed: int) -> None:
    stream = torch.Generator().manual_seed(seed)
    x = torch.rand(individuals, genes, generator=stream) < 0.4
    delta = torch.randn(individuals, generator=stream, dtype=torch.float64)
    means = means_of(x, delta, tile)
    assert individuals == means.N
    assert float(means.variance) == pytest.approx(float(delta.var(correction=0)))
    for i in range(genes):
        carriers, others = delta[x[:, i]], delta[~x[:, i]]
        assert bool(means.polymorphic[i]) == (len(carriers) > 0 and len(others) > 0)
        assert float(means.f[i]) == pytest.approx(float(carriers.mean()) if len(carriers) else 0.0, abs=1e-5)
        assert float(means.f_bar[i]) == pytest.approx(float(others.mean()) if len(others) else 0.0, abs=1e-5)


unit = st.floats(0, 1)
reals = st.floats(-50, 50)


@given(arrays(float, 20, elements=unit), arrays(float, 20, elements=reals), arrays(float, 20, elements=reals))
def test_eq_3_as_printed_wherever_offspring_are_positive(p, f, f_bar) -> None:  # type: ignore[no-untyped-def]
    epsilon = 0.01
    ours = weak_selection(torch.from_numpy(p), torch.from_numpy(f), torch.from_numpy(f_bar), epsilon).numpy()
    printed = p * (1 + epsilon * f) / (1 + epsilon * f_bar + epsilon * p * (f - f_bar))
    assert ours == pytest.approx(printed, rel=1e-9, abs=1e-12)


@given(arrays(float, 20, elements=unit), arrays(float, 20, elements=reals), arrays(float, 20, elements=reals), reals)
def test_frequencies_stay_probabilities_under_any_selection(p, f, f_bar, strength) -> None:  # type: ignore[no-untyped-def]
    ours = weak_selection(torch.from_numpy(p), torch.from_numpy(f), torch.from_numpy(f_bar), abs(strength))
    assert bool(((ours >= 0) & (ours <= 1)).all())
    assert bool((ours[torch.from_numpy(p == 0)] == 0).all())


def test_an_allele_whose_carriers_have_no_offspring_is_lost() -> None:
    p = torch.tensor([0.3, 0.3], dtype=torch.float64)
    ours = weak_selection(p, torch.tensor([-2.0, 0.0]).double(), torch.tensor([0.0, -2.0]).double(), 1.0)
    assert ours.tolist() == [0.0, 1.0]


def test_lemma_1_by_enumeration() -> None:
    """L(p) = -f_bar - p (f - f_bar), dL/dp = -(f - f_bar), and eq. (3) goes down the gradient, to float64 accuracy."""
    n = 6
    stream = torch.Generator().manual_seed(0)
    p = torch.rand(n, generator=stream, dtype=torch.float64).requires_grad_()
    genotypes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)
    loss_of = torch.rand(len(genotypes), generator=stream, dtype=torch.float64)  # any loss of the 2^n networks
    chance = (p * genotypes + (1 - p) * (1 - genotypes)).prod(dim=1)
    loss = (chance * loss_of).sum()
    (gradient,) = torch.autograd.grad(loss, p)
    with torch.no_grad():
        f = torch.stack([-(chance * loss_of * genotypes[:, i]).sum() / p[i] for i in range(n)])
        f_bar = torch.stack([-(chance * loss_of * (1 - genotypes[:, i])).sum() / (1 - p[i]) for i in range(n)])
        torch.testing.assert_close(-f_bar - p * (f - f_bar), loss.expand(n), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(gradient, -(f - f_bar), rtol=1e-12, atol=1e-14)
        epsilon = 0.5
        moved = weak_selection(p, f, f_bar, epsilon) - p
        torch.testing.assert_close(
            moved, -epsilon * p * (1 - p) / (1 - epsilon * loss) * gradient, rtol=1e-10, atol=1e-14
        )


@given(st.integers(1, 400), st.integers(1, 30), st.integers(0, 10**6), st.sampled_from([1e-200, 1e-6, 1.0, 1e6, 1e200]))
def test_sums_over_carriers_have_the_same_bits_in_any_order(
    individuals: int, genes: int, seed: int, size: float
) -> None:
    stream = torch.Generator().manual_seed(seed)
    x = torch.rand(individuals, genes, generator=stream) < 0.5
    exact = torch.randn(1, individuals, generator=stream, dtype=torch.float64) * size
    rows = round_for_exact_sum(exact)
    assert float((rows - exact).abs().max()) <= 2**-52 * individuals * float(exact.abs().max())
    whole = carrier_sums(x.split(64), rows)
    cut = seed % individuals
    assert torch.equal(carrier_sums([x[:cut]], rows[:, :cut]) + carrier_sums([x[cut:]], rows[:, cut:]), whole)
    order = torch.randperm(individuals, generator=stream)
    assert torch.equal(carrier_sums(x[order].split(7), rows[:, order]), whole)
