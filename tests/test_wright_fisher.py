"""Real populations: what children inherit, by the textbook; eq. (3) in expectation; what is refused."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nne import Evolution, WrightFisher, run
from nne.fitness import standardise
from nne.selection import weak_selection
from nne.training.errors import UserError
from tests.shapes import means_of


def ones(x: Tensor) -> Tensor:
    """The fitness of OneMax."""
    return x.sum(dim=1).double()


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(2, 40), st.floats(0.01, 0.5), st.integers(0, 99))
def test_the_expected_allele_frequencies_are_those_of_equation_3(n: int, N: int, epsilon: float, seed: int) -> None:
    population = WrightFisher(n, N, epsilon=epsilon, seed=seed)
    x = population.ask()
    delta = (x * torch.arange(1.0, n + 1)).sum(dim=1).double()
    share = population.offspring(delta)
    z = standardise(delta)
    if float((1 + epsilon * z).min()) < 0:
        return  # whoever would have fewer than no children has none, which eq. (3) takes allele by allele
    means = means_of(x, z)
    expected = weak_selection(means.share, means.f, means.f_bar, epsilon)
    torch.testing.assert_close(share @ x.double(), expected)


def test_selection_and_recombination_do_not_keep_a_product_distribution() -> None:
    """Meir and Parkes 2015, by enumeration: what eq. (3) draws anew from ``p`` a population has only half-way."""
    every = (torch.arange(8)[:, None] >> torch.arange(3)) % 2 > 0
    p = torch.tensor([0.3, 0.5, 0.6], dtype=torch.float64)
    product = torch.where(every, p, 1 - p).prod(dim=1)
    fitness = 1 + (every[:, 0] & every[:, 1]).double()  # the two are worth something together
    selected = product * fitness / (product @ fitness)

    def linkage(distribution: Tensor) -> float:
        q = distribution @ every.double()
        return float(distribution @ (every[:, 0] & every[:, 1]).double() - q[0] * q[1])

    inherited = torch.zeros(8, dtype=torch.float64)
    powers = torch.tensor([1, 2, 4])
    for mother in range(8):
        for father in range(8):
            for mask in every:  # every way to inherit three genes from two, alike
                child = int((torch.where(mask, every[mother], every[father]) * powers).sum())
                inherited[child] += selected[mother] * selected[father] / 8
    assert linkage(product) == pytest.approx(0, abs=1e-12)
    assert linkage(selected) > 0.01
    assert linkage(inherited) == pytest.approx(linkage(selected) / 2)
    torch.testing.assert_close(inherited @ every.double(), selected @ every.double())  # p itself is as eq. (3) says

    population = WrightFisher(3, 60_000, p0=0.5, fitness="none", epsilon=1.0, seed=2)
    x = population.ask()
    population.tell((x[:, 0] & x[:, 1]).double())
    first, second = population.ask()[:, :2].double().T
    D = float((first * second).mean() - first.mean() * second.mean())
    q = torch.where(every, 0.5, 0.5).double().prod(dim=1) * fitness
    assert pytest.approx(linkage(q / q.sum()) / 2, abs=0.006) == D


def test_it_begins_with_the_genotypes_of_evolution() -> None:
    assert torch.equal(WrightFisher(30, 20, seed=4).ask(), Evolution(30, 20, seed=4).ask())


@pytest.mark.parametrize(
    ("linkage", "r"), [("free", 0.0), ("free", 0.1), ("free", 0.5), ("linear", 0.1), ("linear", 0.5)]
)
def test_gametes_recombine_at_the_rate_that_is_said(linkage: str, r: float) -> None:
    population = WrightFisher(6, 2, recombination=r, linkage=linkage)
    M = 40_000
    strands = torch.tensor([[False], [True]]).expand(2, 6).expand(M, 2, 6)
    made = population.gametes(strands, torch.Generator().manual_seed(0))
    assert float(made.double().mean()) == pytest.approx(0.5, abs=0.01)
    for i in range(6):
        for j in range(i):
            expected = (1 - (1 - 2 * r) ** (i - j)) / 2 if linkage == "linear" else r  # Haldane 1919
            assert float((made[:, i] != made[:, j]).double().mean()) == pytest.approx(expected, abs=0.012)


def test_without_recombination_children_are_clones() -> None:
    population = WrightFisher(40, 30, recombination=0)
    before = {row.numpy().tobytes() for row in population.ask()}
    population.tell(ones(population.ask()))
    assert {row.numpy().tobytes() for row in population.ask()} <= before


@pytest.mark.parametrize(("dominance", "expressed"), [(0.0, 0.25), (1.0, 0.75), (0.3, 0.25 + 0.5 * 0.3)])
def test_diploids_express_what_is_dominant(dominance: float, expressed: float) -> None:
    population = WrightFisher(200, 300, ploidy=2, dominance=dominance, p0=0.5)
    assert population.genomes.shape == (300, 2, 200)
    x = population.ask()
    assert float(x.double().mean()) == pytest.approx(expressed, abs=0.01)
    assert torch.equal(x, population.ask())
    population.tell(ones(x))
    assert float(population.ask().double().mean()) > expressed


def test_mutation_alone_goes_to_a_half() -> None:
    population = WrightFisher(100, 500, mutation=0.1, p0=1.0)
    for _ in range(40):
        population.ask()
        population.tell(torch.zeros(500))
    assert float(population.p.mean()) == pytest.approx(0.5, abs=0.03)
    assert population.stop() is None


def test_recombination_takes_linkage_apart() -> None:
    reached = {}
    for r in (0.0, 0.5):
        population = WrightFisher(100, 100, recombination=r, epsilon=0.3, seed=1)
        for _ in range(15):
            metrics = population.tell(ones(population.ask()))
        reached[r] = metrics["population/linkage"]
    assert reached[0.5] < 0.03  # 1 / N, and what selection adds
    assert reached[0.0] > 3 * reached[0.5]


@pytest.mark.parametrize("how", [{}, {"selection": "truncation", "share": 0.3}, {"ploidy": 2, "linkage": "linear"}])
def test_it_solves_onemax_either_way(how: dict[str, Any]) -> None:
    most = run(WrightFisher(40, 100, mutation=0.002, p0=0.5, **how), ones, 20_000, target=40)
    assert most.reason == "target"
    least = WrightFisher(40, 100, mutation=0.002, p0=0.5, minimise=True, **how)
    found = run(least, lambda x: -ones(x), 20_000, target=-40)
    assert (found.fitness, found.evaluations) == (-40, most.evaluations)
    assert least.best.fitness <= 0


def test_alike_is_the_end_unless_there_is_mutation() -> None:
    found = run(WrightFisher(10, 20, p0=0.5), ones, 10**6)
    assert found.reason == "all alleles are fixed"


def test_it_goes_on_where_it_was() -> None:
    whole, half = (WrightFisher(20, 30, ploidy=2, mutation=0.01, seed=5) for _ in range(2))
    for each in (whole, half):
        for _ in range(4):
            each.tell(ones(each.ask()))
    resumed = WrightFisher(20, 30, ploidy=2, mutation=0.01, seed=5)
    resumed.load_state_dict(half.state_dict())
    for _ in range(4):
        whole.tell(ones(whole.ask()))
        resumed.tell(ones(resumed.ask()))
    assert torch.equal(whole.genomes, resumed.genomes)
    with pytest.raises(UserError, match="does not hold genomes"):
        WrightFisher(20, 31, ploidy=2, mutation=0.01, seed=5).load_state_dict(half.state_dict())
    with pytest.raises(UserError, match=r"the checkpoint is of .* mutation=0\.01 .*; this population"):
        WrightFisher(20, 30, ploidy=2, seed=5).load_state_dict(half.state_dict())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"recombination": 0.6}, "recombination must be from 0 to 0.5, got 0.6"),
        ({"linkage": "circular"}, "linkage must be one of free, linear, got circular"),
        ({"ploidy": 3}, "ploidy must be 1 or 2, got 3"),
        ({"share": 0.0}, "share must be greater than 0 and at most 1, got 0.0"),
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"mutation": -0.1}, "mutation must be from 0 to 1, got -0.1"),
    ],
)
def test_wrong_arguments_are_one_line(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        WrightFisher(**{"genes": 5, "population": 10} | how)


def test_wrong_fitness_loses_nothing() -> None:
    population = WrightFisher(10, 20)
    with pytest.raises(UserError, match="ask for generation 0"):
        population.tell(torch.zeros(20))
    x = population.ask()
    for wrong in (torch.zeros(3), torch.full((20,), float("nan")), ["high"] * 20):
        with pytest.raises(UserError, match="fitness must be"):
            population.tell(wrong)
    assert torch.equal(population.ask(), x)
