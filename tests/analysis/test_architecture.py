"""What networks are made of, on networks whose answer is known, and that pruning what is idle changes nothing."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nne.analysis.architecture import (
    activities,
    dead,
    logits,
    participation,
    structure,
    twins,
    without_idle_units,
    without_weakest,
)


def network(seed: int, units: tuple[int, ...] = (12, 8), inputs: int = 6, individuals: int = 3) -> list[Tensor]:
    stream = torch.Generator().manual_seed(seed)
    sizes = (inputs, *units, 4)
    return [torch.randn(individuals, above, below, generator=stream) for below, above in pairwise(sizes)]


def images(seed: int, count: int = 50, inputs: int = 6) -> Tensor:
    return torch.rand(count, inputs, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 30), st.integers(0, 30), st.floats(0.1, 10))
def test_participation_counts_equal_weights(equal: int, none: int, size: float) -> None:
    weights = torch.cat([torch.full((equal,), size), torch.zeros(none)])
    assert float(participation(weights, 0)) == pytest.approx(equal)


def test_participation_of_nothing_is_nothing() -> None:
    assert float(participation(torch.zeros(5), 0)) == 0


@given(st.integers(0, 10**6))
def test_logits_are_those_of_a_loop(seed: int) -> None:
    made, seen = network(seed), images(seed)
    for i in range(3):
        h = seen.double().T
        for matrix in made[:-1]:
            h = (matrix[i].double() @ h).clamp(min=0)
        torch.testing.assert_close(logits(made, seen)[i], (made[-1][i].double() @ h).float(), rtol=1e-4, atol=1e-4)


@given(st.integers(0, 10**6))
def test_pruning_dead_units_and_exact_twins_changes_no_answer(seed: int) -> None:
    made, stream = network(seed, inputs=30), torch.Generator().manual_seed(seed)
    seen = torch.randn(200, 30, generator=stream)
    seen[:, 0] = 1
    made[0][:, 3, 0] = -100
    made[0][:, 7] = 2.5 * made[0][:, 1]
    made[1] = torch.eye(8, 12).expand(3, -1, -1).clone()  # a second layer as little alike as the first
    made[1][:, 5] = 0.5 * made[1][:, 2]
    made[1][:, 7] = made[1][:, 7].roll(1, dims=1)  # of unit 8, and not of 7, which has a twin
    first, second = activities(made, seen)
    assert dead(first).nonzero()[:, 1].tolist() == [3, 3, 3]
    assert twins(first)[:, 7].tolist() == [1, 1, 1]
    assert twins(second)[:, 5].tolist() == [2, 2, 2]
    pruned = without_idle_units(made, seen)
    for matrix, gone in zip(pruned, ([3, 7], [5]), strict=False):
        assert not bool(matrix[:, gone].any())
    torch.testing.assert_close(logits(pruned, seen), logits(made, seen), rtol=1e-3, atol=1e-3)


def test_twins_are_found_by_definition() -> None:
    h = activities(network(1, (40,), inputs=2), images(1, inputs=2))[0]
    result = twins(h)
    for i in range(3):
        single: list[int] = []
        for j in range(40):
            likeness = torch.corrcoef(h[i].double())[j] if bool(h[i, j].std() > 0) else torch.zeros(40)
            alike = [k for k in single if float(likeness[k]) >= 0.95]
            if alike:
                assert int(result[i, j]) == max(alike, key=lambda k: float(likeness[k]))
            else:
                assert int(result[i, j]) == -1
                single.append(j)
    assert bool((result >= 0).any())


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_the_weakest_links_are_cut(seed: int, share: float) -> None:
    made = network(seed)
    made[0][:, ::2, ::2] = 0  # links that do not exist
    for before, after in zip(made, without_weakest(made, share), strict=True):
        for i in range(3):
            there = before[i] != 0
            kept = after[i] != 0
            assert int(kept.sum()) == int(there.sum()) - int(int(there.sum()) * share)
            assert torch.equal(after[i][kept], before[i][kept])
            if bool(kept.any()) and bool((there & ~kept).any()):
                assert before[i][kept].abs().min() >= before[i][there & ~kept].abs().max()


def test_structure_of_a_network_that_is_known() -> None:
    first = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, -1]])[None]
    outputs = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0.001]])[None]
    present = [first[0] != 0, outputs[0] != 0]
    result = structure([first, outputs], present, torch.rand(30, 4, generator=torch.Generator().manual_seed(0)))
    assert result.dead == pytest.approx(1 / 4)
    assert result.redundant == pytest.approx(1 / 4)
    assert result.zero == pytest.approx((0 + 1 / 4) / 2, abs=0.1)
    assert result.in_degree == pytest.approx((2 + 2 + 2 + 1) / 4)
    assert result.out_degree == pytest.approx(1)
    assert result.density == pytest.approx((7 + 3) / 24, rel=1e-3)
