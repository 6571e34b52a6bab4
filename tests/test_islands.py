"""Islands in one tensor: the same bits as runs of their own, migrants, checkpoints, and what is refused."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nne import Evolution, Islands
from nne.fitness import TRANSFORMS
from nne.population.cpp import kernel
from nne.selection import RULES, Sample
from nne.training.errors import UserError

GENES, N = 23, 12


def weighted(x: Tensor) -> Tensor:
    """A fitness with ties and of no round size, along the last dimension."""
    return (x * torch.arange(1.0, x.shape[-1] + 1, dtype=torch.float64).sqrt()).sum(dim=-1).round(decimals=1)


@pytest.mark.parametrize("backend", ["torch", "cpp"])
@pytest.mark.parametrize("fitness", list(TRANSFORMS))
@pytest.mark.parametrize("rule", list(RULES))
def test_islands_are_the_same_bits_as_runs_of_their_own(
    rule: str, fitness: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "torch":
        monkeypatch.setattr(kernel, "_loaded", [])
    elif kernel.load() is not None:
        pytest.skip("no compiler here")
    how: dict[str, Any] = {"selection": rule, "fitness": fitness, "epsilon": 0.1, "border": 0.02}
    together = Islands(5, GENES, N, seed=3, **how)
    alone = [Evolution(GENES, N, seed=3 + k, **how) for k in range(5)]
    for _ in range(12):
        x = together.ask()
        assert torch.equal(x, torch.stack([each.ask() for each in alone]))
        metrics = together.tell(weighted(x))
        theirs = [each.tell(weighted(each.ask())) for each in alone]
        assert torch.equal(together.p, torch.stack([each.p for each in alone]))
        for name, value in metrics.items():
            of = [each[name] for each in theirs]
            assert value == pytest.approx(max(of) if name == "fitness/best" else sum(of) / 5, rel=1e-9, abs=1e-12), name
    assert [best.fitness for best in together.bests] == [each.best.fitness for each in alone]
    assert all(torch.equal(best.x, each.best.x) for best, each in zip(together.bests, alone, strict=True))


def test_a_rule_of_one_s_own_knows_one_island() -> None:
    def halfway(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
        assert p.dim() == 1
        memory += 1
        return (p + (sample.means.f > sample.means.f_bar)) / 2

    halfway.remembers = 1  # type: ignore[attr-defined]
    islands = Islands(3, GENES, N, selection=halfway)
    for _ in range(4):
        islands.tell(weighted(islands.ask()))
    assert islands.memory.shape == (1, 3, GENES)
    assert bool((islands.memory == 4).all())


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 7), st.floats(0, 1), st.sampled_from(["island", "ring"]))
def test_migrants_keep_the_mean_and_come_from_where_they_should(K: int, m: float, topology: str) -> None:
    islands = Islands(K, GENES, N, migration=m, topology=topology)
    p = torch.rand(K, GENES, dtype=torch.float64, generator=torch.Generator().manual_seed(K))
    after = islands.migrated(p)
    torch.testing.assert_close(after.mean(dim=0), p.mean(dim=0))
    for k in range(K):
        sources = [i for i in range(K) if i != k] if topology == "island" else [(k - 1) % K, (k + 1) % K]
        torch.testing.assert_close(after[k], (1 - m) * p[k] + m * sum(p[i] for i in sources) / len(sources))


def test_they_go_on_where_they_were() -> None:
    how: dict[str, Any] = {"migration": 0.1, "topology": "ring", "minimise": True, "selection": "momentum"}
    whole, half = Islands(4, GENES, N, **how), Islands(4, GENES, N, **how)
    for _ in range(5):
        whole.tell(weighted(whole.ask()))
        half.tell(weighted(half.ask()))
    resumed = Islands(4, GENES, N, **how)
    resumed.load_state_dict(half.state_dict())
    for _ in range(5):
        whole.tell(weighted(whole.ask()))
        resumed.tell(weighted(resumed.ask()))
    both = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in both)
    assert whole.best.fitness == min(best.fitness for best in whole.bests)
    with pytest.raises(UserError, match=r"islands=4 migration=0\.1 topology=ring; this evolution has"):
        Islands(4, GENES, N).load_state_dict(half.state_dict())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"islands": 0}, "islands must be at least 1, got 0"),
        ({"migration": 1.5}, "migration must be from 0 to 1, got 1.5"),
        ({"topology": "star"}, "topology must be one of island, ring, got star"),
        ({"freeze": 0.1}, "leave out freeze"),
        ({"p0": 1.5}, "p0 must be from 0 to 1"),
        ({"p0": [0.5, 0.5]}, r"p0 must be one number or 23, got \[2\]"),
        ({"border": 0.5}, "border must be from 0 to below 0.5, got 0.5"),
    ],
)
def test_wrong_arguments_are_one_line(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Islands(**{"islands": 2, "genes": GENES, "population": N} | how)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_wrong_fitness_loses_nothing(value: float) -> None:
    islands = Islands(2, GENES, N)
    fitness = weighted(islands.ask())
    p = islands.p
    for wrong in (fitness[0], fitness.index_fill(1, torch.tensor([0]), value), "high"):
        with pytest.raises(UserError, match="fitness must be"):
            islands.tell(wrong)
    assert torch.equal(islands.p, p)
    islands.tell(fitness)
    with pytest.raises(UserError, match="ask for generation 1"):
        islands.tell(fitness)
