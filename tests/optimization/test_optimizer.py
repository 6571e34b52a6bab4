"""The optimizer: what it finds, what it costs, that it goes on where it was, and what it says to wrong fitness."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nne import Evolution, Optimizer, optimize, run
from nne.optimization.breeding import bred
from nne.optimization.pyramid import Level, Pyramid, climb, distances, tree
from nne.training.errors import UserError


def trap(x: Tensor) -> Tensor:
    """Blocks of five: 5 for all ones, else one less than the zeros; single flips lead away from the best."""
    ones = x.view(len(x), -1, 5).sum(dim=2)
    return torch.where(ones == 5, 5, 4 - ones).sum(dim=1)


def leading(x: Tensor) -> Tensor:
    """How many ones there are before the first zero."""
    return x.long().cumprod(dim=1).sum(dim=1)


def rugged(n: int, seed: int) -> Callable[[Tensor], Tensor]:
    """An NK landscape: each gene's share depends on it and on two others."""
    stream = torch.Generator().manual_seed(seed)
    others = torch.stack([torch.randperm(n, generator=stream)[:3] for _ in range(n)])
    table = torch.rand(n, 8, generator=stream, dtype=torch.float64)
    powers = torch.tensor([1, 2, 4])
    return lambda x: table[torch.arange(n), (x[:, others] * powers).sum(dim=2)].sum(dim=1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("f", "n", "best"), [(trap, 60, 60), (leading, 60, 60), (lambda x: x.sum(dim=1), 200, 200)])
def test_it_finds_the_best(f: Callable[[Tensor], Tensor], n: int, best: int, seed: int) -> None:
    found = optimize(f, n, 20_000, seed=seed, target=best)
    assert found.reason == "target"
    assert found.fitness == best
    assert float(f(found.x[None])) == best
    assert found.evaluations <= 20_000
    assert [fitness for _, fitness in found.history] == sorted({fitness for _, fitness in found.history})


def test_small_rugged_ground_by_enumeration() -> None:
    f = rugged(12, seed=1)
    every = (torch.arange(2**12)[:, None] >> torch.arange(12)) % 2 > 0
    assert optimize(f, 12, 4000).fitness == pytest.approx(float(f(every).max()))


def test_the_budget_is_kept_and_less_is_better_if_said() -> None:
    seen = []

    def f(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x.sum(dim=1)

    most, least = optimize(f, 300, 137), optimize(lambda x: -x.sum(dim=1), 300, 137, minimise=True)
    assert sum(seen) == most.evaluations == 137
    assert most.reason == "budget"
    assert torch.equal(most.x, least.x)
    assert (most.fitness, most.history) == (-least.fitness, [(at, -fitness) for at, fitness in least.history])


def test_a_callback_ends_it() -> None:
    found = optimize(leading, 50, 10_000, callback=lambda so_far: so_far.fitness >= 20)
    assert found.reason == "callback"
    assert 20 <= found.fitness < 50


def test_it_goes_on_where_it_was() -> None:
    whole, half = Optimizer(40, seed=2), Optimizer(40, seed=2)
    for optimizer in (whole, half):
        while optimizer.evaluations < 3000:
            optimizer.tell(trap(optimizer.ask()))
    resumed = Optimizer(40, seed=2)
    resumed.load_state_dict(half.state_dict())
    assert resumed.evaluations == whole.evaluations
    for _ in range(200):
        x = whole.ask()
        assert torch.equal(resumed.ask(), x)
        whole.tell(trap(x))
        resumed.tell(trap(x))
    assert torch.equal(whole.best.x, resumed.best.x)
    with pytest.raises(UserError, match="the checkpoint is of genes=40 seed=2"):
        Optimizer(40, seed=3).load_state_dict(half.state_dict())


def test_many_genes_take_no_memory_for_pairs() -> None:
    optimizer = Optimizer(5000)
    for _ in range(5):
        optimizer.tell(optimizer.ask().sum(dim=1))
    assert optimizer.pyramid.levels == []


WRONG: list[tuple[Any, str]] = [
    ([1.0, 2.0], r"fitness must be of shape \[50\], got \[2\]"),
    (float("nan"), "fitness must be numbers, or -inf for what is not feasible; got nan"),
    (float("inf"), "fitness must be numbers, or -inf for what is not feasible; got inf"),
    ("high", "fitness must be 50 numbers, got list"),
]


@pytest.mark.parametrize(("fitness", "message"), WRONG)
def test_wrong_fitness_is_one_line_and_nothing_is_lost(fitness: Any, message: str) -> None:
    optimizer = Optimizer(3000)  # the first to be asked for is a population of 50
    x = optimizer.ask()
    with pytest.raises(UserError, match=message):
        optimizer.tell(fitness if isinstance(fitness, list) else [fitness] * 50)
    assert torch.equal(optimizer.ask(), x)
    optimizer.tell(x.sum(dim=1))
    with pytest.raises(UserError, match="ask for genotypes"):
        optimizer.tell(x.sum(dim=1))


def test_what_is_not_feasible_is_never_the_best() -> None:
    def f(x: Tensor) -> Tensor:
        ones = x.sum(dim=1).double()
        return torch.where(ones > 20, -float("inf"), ones)

    assert optimize(f, 40, 3000).fitness == 20
    assert run(Evolution(40, 50, p0=0.4), f, 5000).fitness == 20


@pytest.mark.parametrize("genes", [1, 2, 3, 4, 5])
def test_a_few_genes_of_which_all_genotypes_are_known_have_no_end_but_the_budget(genes: int) -> None:
    found = optimize(lambda x: x.sum(dim=1), genes, 400)
    assert (found.fitness, found.evaluations) == (genes, 400)


def test_what_was_told_is_kept_whatever_becomes_of_the_array_that_told_it() -> None:
    one, other = Optimizer(40, seed=3), Optimizer(40, seed=3)
    told = np.zeros(1000)
    for _ in range(30):
        x = one.ask()
        told[: len(x)] = x.sum(dim=1)
        one.tell(told[: len(x)])
        other.tell(other.ask().sum(dim=1).double())
    assert torch.equal(one.state_dict()["told"], other.state_dict()["told"])


def test_evolution_is_run_until_all_alleles_are_fixed() -> None:
    found = run(Evolution(20, 30, p0=0.5, seed=1), lambda x: x.sum(dim=1), 10**6)
    assert found.reason == "all alleles are fixed"
    assert found.fitness >= 18


@given(st.integers(1, 30), st.integers(2, 6), st.integers(0, 1000))
def test_distances_are_those_of_the_definition(N: int, n: int, seed: int) -> None:
    x = np.random.default_rng(seed).random((N, n)) < 0.5
    level = Level(n)
    for row in x:
        level.add(row)
    found = distances(level.pairs, N)
    for i in range(n):
        for j in range(n):
            shares = [((x[:, i] == a) & (x[:, j] == b)).mean() for a in (0, 1) for b in (0, 1)]
            joint = -sum(s * np.log(s) for s in shares if s)
            singles = -sum(s * np.log(s) for k in (i, j) for s in (x[:, k].mean(), 1 - x[:, k].mean()) if s)
            assert found[i, j] == pytest.approx(1 - (singles - joint) / joint if joint > 0 else 1)


def test_the_tree_puts_together_what_belongs_together() -> None:
    rng = np.random.default_rng(0)
    level = Level(9)
    for _ in range(60):
        level.add(np.repeat(rng.random(3) < 0.5, 3))  # genes in threes
    clusters = [sorted(genes.tolist()) for genes in tree(distances(level.pairs, 60), rng)]
    assert clusters[:3] == sorted(clusters[:3], key=len)
    assert {tuple(genes) for genes in clusters if len(genes) == 3} == {(0, 1, 2), (3, 4, 5), (6, 7, 8)}
    assert not [genes for genes in clusters if len(genes) < 3]  # parts that are never apart


def test_a_climb_ends_where_no_flip_helps() -> None:
    f = rugged(25, seed=3)
    x = np.zeros(25, dtype=bool)
    search = climb(x, float(f(torch.from_numpy(x[None]))), np.random.default_rng(0))
    asked = next(search)
    try:
        while True:
            asked = search.send(f(torch.from_numpy(asked.copy())).numpy())
    except StopIteration as ended:
        reached = ended.value
    neighbours = torch.from_numpy(x[None]) ^ torch.eye(25, dtype=torch.bool)
    assert float(f(torch.from_numpy(x[None]))) == reached
    assert float(f(neighbours).max()) <= reached


def test_children_are_new_and_have_each_gene_from_a_parent() -> None:
    rng = np.random.default_rng(1)
    population = np.zeros((50, 400), dtype=bool)
    population[:25, :200], population[25:, 200:] = True, True  # two kinds
    children = bred(population, np.arange(50.0), rng)
    assert len({row.tobytes() for row in children}) == len(children)
    assert not any((population == child).all(axis=1).any() for child in children)
    flips = np.minimum(*((children != kind).sum(axis=1) for kind in population[[0, 49]]))
    assert (flips < 8).any()  # children of one parent, but for mutations
    assert (flips > 50).any()  # and of two


def test_every_genotype_is_in_the_pyramid_once() -> None:
    pyramid = Pyramid(5, np.random.default_rng(0))
    for height in (0, 1, 0):
        pyramid.add(np.ones(5, dtype=bool), height)
    assert [len(level.genotypes) for level in pyramid.levels] == [1]
