"""Every rule of selection against a plain loop from its source, and what must hold of all of them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nne.fitness import standardise
from nne.learners import config
from nne.selection import ADAM, BEST, HERITABILITY, MOMENTUM, RULES, Sample

Population = tuple[Tensor, Tensor, Tensor]


def population(genes: int, individuals: int, seed: int) -> Population:
    """Frequencies, genotypes and the standardised fitness of a population."""
    stream = torch.Generator().manual_seed(seed)
    p = 0.2 + 0.6 * torch.rand(genes, generator=stream, dtype=torch.float64)
    x = torch.rand(individuals, genes, generator=stream, dtype=torch.float64) < p
    return p, x, standardise(torch.randn(individuals, generator=stream, dtype=torch.float64))


def move(rule: str, drawn: Population, epsilon: float, memory: Tensor | None = None) -> Tensor:
    p, x, z = drawn
    memory = p.new_zeros(RULES[rule].remembers, len(p)) if memory is None else memory
    return RULES[rule].move(p, Sample(z, lambda who: iter(x[who.start : who.stop].split(7))), epsilon, memory)


def marginal_effects(drawn: Population) -> list[float]:
    """``f - f_bar`` by the paper's fractions."""
    _, x, z = drawn
    return [float(z[x[:, i]].mean() - z[~x[:, i]].mean()) for i in range(x.shape[1])]


def test_pbil_goes_towards_the_mean_of_the_best() -> None:
    p, x, z = drawn = population(6, 50, 0)
    best = sorted(range(50), key=lambda k: -float(z[k]))[: round(50 * BEST)]
    for i in range(6):
        mean = sum(float(x[k, i]) for k in best) / len(best)
        assert float(move("pbil", drawn, 0.3)[i]) == pytest.approx(0.7 * float(p[i]) + 0.3 * mean, abs=1e-6)


def test_compact_ga_moves_by_one_in_a_virtual_population_for_each_pair() -> None:
    p, x, z = drawn = population(6, 31, 1)
    expected = p.clone()
    for k in range(0, 30, 2):
        winner, loser = (k, k + 1) if z[k] > z[k + 1] else (k + 1, k)
        expected += (x[winner].double() - x[loser].double()) / (31 / 0.5)
    torch.testing.assert_close(move("compact_ga", drawn, 0.5), expected, atol=1e-6, rtol=0)


def test_igo_weighs_individuals_by_rank_alone() -> None:
    p, x, z = drawn = population(6, 40, 2)
    order = sorted(range(40), key=lambda k: -float(z[k]))
    raw = [max(math.log(21) - math.log(place + 1), 0) for place in range(40)]
    utility = standardise(torch.tensor(raw, dtype=torch.float64))
    expected = p + 0.5 * sum(utility[place] * (x[k].double() - p) for place, k in enumerate(order)) / 40
    torch.testing.assert_close(move("igo", drawn, 0.5), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(move("igo", (p, x, z.exp()), 0.5), expected, atol=1e-6, rtol=0)


def test_momentum_moves_by_a_running_mean() -> None:
    p, x, z = drawn = population(6, 40, 3)
    memory = torch.zeros(1, 6, dtype=torch.float64)
    first = move("momentum", drawn, 0.7, memory)
    second = move("momentum", (first, x, z), 0.7, memory)
    for i, effect in enumerate(marginal_effects(drawn)):
        mean = (1 - MOMENTUM) * float(p[i] * (1 - p[i])) * effect
        assert float(first[i] - p[i]) == pytest.approx(0.7 * mean, abs=1e-5)
        mean = MOMENTUM * mean + (1 - MOMENTUM) * float(first[i] * (1 - first[i])) * effect
        assert float(second[i] - first[i]) == pytest.approx(0.7 * mean, abs=1e-5)


def test_adam_is_torch_s_adam_on_the_logit() -> None:
    p, x, z = drawn = population(6, 40, 4)
    theta = p.logit().requires_grad_()
    optimiser = torch.optim.Adam([theta], lr=0.2, betas=ADAM)
    memory, ours = torch.zeros(3, 6, dtype=torch.float64), p
    effects = torch.tensor(marginal_effects(drawn), dtype=torch.float64)
    for _ in range(4):
        theta.grad = -(ours * (1 - ours) * effects)
        optimiser.step()
        ours = move("adam", (ours, x, z), 0.2, memory)
        torch.testing.assert_close(ours, torch.sigmoid(theta.detach()), atol=1e-5, rtol=1e-5)


def test_ridge_selects_along_the_joint_estimate() -> None:
    """The dual solution's direction is that of the normal equations; its length is eq. (3)'s."""
    p, x, z = drawn = population(8, 60, 5)
    Z = x.double() - p
    penalty = float(Z.square().sum()) / 60 * (1 - HERITABILITY) / HERITABILITY
    effects = torch.linalg.solve(Z.T @ Z + penalty * torch.eye(8, dtype=torch.float64), Z.T @ z)
    step = move("ridge", drawn, 1e-4) - p
    assert float(torch.cosine_similarity(step, p * (1 - p) * effects, dim=0)) == pytest.approx(1, abs=1e-4)
    marginal = move("population_genetics", drawn, 1e-4) - p
    lengths = [float((s.square() / (p * (1 - p))).sum()) for s in (step, marginal)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-3)


def test_ridge_knows_an_allele_from_its_companion() -> None:
    """Where a neutral allele always comes with a good one, but for a few individuals, only the good one is favoured."""
    stream = torch.Generator().manual_seed(0)
    x = torch.rand(400, 2, generator=stream) < 0.5
    x[:, 1] = torch.where(torch.rand(400, generator=stream) < 0.75, x[:, 0], x[:, 1])
    z = standardise(x[:, 0].double() + 0.1 * torch.randn(400, generator=stream, dtype=torch.float64))
    p = torch.full((2,), 0.5, dtype=torch.float64)
    joint, apart = (move(rule, (p, x, z), 0.1) - p for rule in ("ridge", "population_genetics"))
    assert float(joint[1] / joint[0]) < 0.6 * float(apart[1] / apart[0])


@pytest.mark.parametrize("rule", list(RULES))
@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(2, 40), st.floats(0, 1000), st.integers(0, 10**6))
def test_frequencies_stay_probabilities(rule: str, genes: int, individuals: int, epsilon: float, seed: int) -> None:
    moved = move(rule, population(genes, individuals, seed), epsilon)
    assert bool(((moved >= 0) & (moved <= 1)).all())


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("pbil", "igo")])  # these rank equals by lot
def test_equals_are_not_selected(rule: str) -> None:
    p, x, z = population(6, 40, 6)
    torch.testing.assert_close(move(rule, (p, x, torch.zeros_like(z)), 1.0), p)


def test_every_rule_that_can_be_configured_exists() -> None:
    assert list(RULES) == config.SELECTIONS
