"""``nne.Evolution`` as a library: ask, tell, freeze, save; and freezing inside the learner."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nne import Evolution
from nne.learners.network import NetworkEvolution
from nne.parts import Parts, means_by_part, sums_by_part
from nne.selection import RULES, Execution, Move, Sample
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.io.checkpoint import state_sha256
from tests.conftest import altered


def ones(x: Tensor) -> Tensor:
    """The fitness of OneMax."""
    return x.sum(dim=1).double()


STRENGTH = {"adam": 0.2}


@pytest.mark.parametrize("rule", list(RULES))
def test_every_rule_solves_onemax(rule: str) -> None:
    evolution = Evolution(genes=60, population=200, selection=rule, epsilon=STRENGTH.get(rule, 0.5))
    for _ in range(60):
        evolution.tell(ones(evolution.ask()))
    assert float(ones(evolution.ask()).mean()) > 57


def test_the_same_generation_however_asked() -> None:
    evolution = Evolution(genes=40, population=30, seed=3)
    x = evolution.ask()
    assert x.shape == (30, 40)
    assert torch.equal(torch.cat([evolution.ask(range(11)), evolution.ask(range(11, 30))]), x)
    assert torch.equal(evolution.ask_free(range(30)), x)
    first, second = Evolution(genes=40, population=30, seed=3, execution=Execution(tile=7)), evolution
    for each in (first, second):
        each.ask()
        each.tell(ones(x))
    torch.testing.assert_close(first.p, second.p, rtol=1e-6, atol=0)


def test_frozen_alleles_stay_and_are_no_longer_drawn() -> None:
    evolution = Evolution(genes=50, population=100, freeze=0.05, epsilon=1.0, seed=1)
    seen = []
    for _ in range(80):
        x = evolution.ask()
        assert torch.equal(x[:, evolution.free], evolution.ask_free(range(100)))
        seen.append(evolution.tell(ones(x))["population/free"])
        frozen = torch.ones(50, dtype=torch.bool).index_fill(0, evolution.free, False)
        assert bool(((evolution.p[frozen] == 0) | (evolution.p[frozen] == 1)).all())
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.2
    assert float(ones(evolution.ask()).mean()) > 45


@pytest.mark.parametrize("rule", list(RULES))
def test_resumed_equals_unbroken(rule: str) -> None:
    def made() -> Evolution:
        return Evolution(genes=50, population=60, selection=rule, epsilon=STRENGTH.get(rule, 1.0), freeze=0.1)

    unbroken, broken, resumed = made(), made(), made()
    for _ in range(25):
        unbroken.tell(ones(unbroken.ask()))
    for _ in range(10):
        broken.tell(ones(broken.ask()))
    resumed.load_state_dict(broken.state_dict())
    for _ in range(15):
        resumed.tell(ones(resumed.ask()))
    assert state_sha256(resumed.state_dict()) == state_sha256(unbroken.state_dict())
    assert len(unbroken.free) < 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"genes": 0}, "genes must be at least 1, got 0"),
        ({"genes": 5, "population": 1}, "population must be at least 2, got 1"),
        ({"genes": 5, "selection": "best"}, "selection must be one of population_genetics"),
        ({"genes": 5, "freeze": 0.5}, "freeze must be from 0 to below 0.5, got 0.5"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Evolution(**arguments)  # type: ignore[arg-type]


def test_fitness_must_be_one_finite_number_an_individual() -> None:
    evolution = Evolution(genes=5, population=4)
    with pytest.raises(UserError, match="ask for generation 0 before you tell its fitness"):
        evolution.tell(torch.zeros(4))
    evolution.ask()
    with pytest.raises(UserError, match=r"fitness must be of shape \[4\], got \[3\]"):
        evolution.tell(torch.zeros(3))
    for wrong in (float("nan"), float("inf"), 1e300):
        with pytest.raises(UserError, match=r"fitness must be finite numbers of at most 1e\+150 in size"):
            evolution.tell([0.0, 1.0, wrong, 0.0])
    for wrong in (float("nan"), 0.0, -1.0):
        with pytest.raises(ValueError, match="epsilon must be greater than 0"):
            evolution.tell([0.0, 1.0, 2.0, 3.0], epsilon=wrong)
    assert evolution.generation == 0
    evolution.tell([0.0, 1.0, 2.0, 1e149])
    with pytest.raises(UserError, match="ask for generation 1"):
        evolution.tell([0.0, 1.0, 2.0, 3.0])


@pytest.mark.parametrize("kind", [list, np.asarray, torch.tensor, lambda x: np.asarray(x, dtype=np.float32)])
def test_fitness_may_be_a_list_an_array_or_a_tensor(kind: Callable[[list[float]], Any]) -> None:
    evolution, other = (Evolution(genes=5, population=4) for _ in range(2))
    assert len(evolution.ask(range(0))) == 0
    other.ask()
    evolution.tell(kind([0.5, 1.0, 2.0, 4.0]))
    other.tell(torch.tensor([0.5, 1.0, 2.0, 4.0]))
    assert torch.equal(evolution.p, other.p)


@pytest.mark.parametrize(
    "settings", [{"seed": 1}, {"selection": "igo"}, {"fitness": "rank"}, {"population": 5}, {"genes": 6}]
)
def test_a_state_belongs_to_one_evolution(settings: dict[str, Any]) -> None:
    evolution = Evolution(genes=5, population=4)
    other = Evolution(**{"genes": 5, "population": 4, **settings})
    with pytest.raises(UserError, match=r"the checkpoint (is of|does not hold)"):
        other.load_state_dict(evolution.state_dict())
    Evolution(genes=5, population=4).load_state_dict(evolution.state_dict())


def test_frozen_networks_are_the_same_networks(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = NetworkEvolution(altered(small, freeze=0.2, epsilon=2.0), digits, fp32)
    plain = NetworkEvolution(small, digits, fp32)
    while len(learner.evolution.free) > 200:
        learner.step()
    plain.load_state_dict(
        learner.state_dict() | {"free": torch.ones(300, dtype=torch.bool)},
    )
    told = (each.environment.rewards(*each.environment.minibatch(each.generation)) for each in (learner, plain))
    torch.testing.assert_close(*told, rtol=1e-4, atol=1e-5)
    assert learner.genotypes(range(3)).shape == (3, len(learner.evolution.free) + 1)
    assert plain.genotypes(range(3)).shape == (3, 300)


def test_a_frozen_run_resumes_bit_for_bit(small: Config, digits: Dataset, fp32: Compute) -> None:
    config = altered(small, freeze=0.1, epsilon=2.0)
    unbroken, broken, resumed = (NetworkEvolution(config, digits, fp32) for _ in range(3))
    for _ in range(20):
        unbroken.step()
    for _ in range(12):
        broken.step()
    resumed.load_state_dict(broken.state_dict())
    for _ in range(8):
        resumed.step()
    assert len(broken.evolution.free) < 300
    assert state_sha256(resumed.state_dict()) == state_sha256(unbroken.state_dict())


def beyond(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """Right on the example of five genes."""
    return p if len(p) == 5 else p + 1


def short(p: Tensor, sample: Sample, epsilon: float, memory: Tensor) -> Tensor:
    """Right on the example, too."""
    return p[:5]


@pytest.mark.parametrize(("rule", "message"), [(beyond, "not all numbers from 0 to 1"), (short, "must give fitness")])
def test_a_rule_that_is_wrong_only_later_is_named_and_nothing_has_changed(rule: Move, message: str) -> None:
    evolution = Evolution(genes=30, population=20, selection=rule)
    before = evolution.p
    with pytest.raises(UserError, match=f"selection=tests.test_evolution.{rule.__name__} .*{message}"):
        evolution.tell(evolution.ask().sum(dim=1))
    assert torch.equal(evolution.p, before)
    assert evolution.generation == 0


@pytest.mark.parametrize(
    ("how", "message"),
    [({"genes": 10.0}, "genes must be a whole number, got 10.0"), ({"population": True}, "population must be a whole")],
)
def test_numbers_that_count_are_whole(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Evolution(**{"genes": 10, "population": 6, **how})


def test_a_border_of_one_generation_is_checked_too() -> None:
    evolution = Evolution(genes=10, population=6)
    evolution.ask()
    with pytest.raises(UserError, match=r"border must be from 0 to below 0\.5, got 3"):
        evolution.tell(range(6), border=3)


def test_a_generation_without_anybody_feasible_is_forgotten_at_the_next() -> None:
    evolution = Evolution(genes=30, population=20)
    before = evolution.p
    evolution.ask()
    evolution.tell(torch.full((20,), -float("inf")))
    assert torch.allclose(evolution.p, before)
    x = evolution.ask()
    evolution.tell(-x.sum(dim=1).double())
    assert evolution.best.fitness == -float(x.sum(dim=1).min())


def test_the_best_individual_so_far_is_kept_and_saved() -> None:
    evolution = Evolution(genes=30, population=20, seed=5)
    assert evolution.best.fitness == -float("inf")
    told = []
    for _ in range(6):
        x = evolution.ask()
        fitness = x[:, :15].sum(dim=1) - 0.5 * x[:, 15:].sum(dim=1)
        told += list(zip(fitness.tolist(), x, strict=True))
        evolution.tell(fitness)
    fittest = max(told, key=lambda pair: pair[0])  # the first of equals
    assert evolution.best.fitness == fittest[0]
    assert torch.equal(evolution.best.x, fittest[1])
    other = Evolution(genes=30, population=20, seed=5)
    other.load_state_dict(evolution.state_dict())
    assert other.best.fitness == fittest[0]
    assert torch.equal(other.best.x, fittest[1])


def test_lemma_1_for_fitness_by_parts() -> None:
    """By enumeration at ``p = 1/2``: each allele's ``f - f_bar`` is the gradient of its own part's mean fitness."""
    n = 5
    every = (torch.arange(2**n)[:, None] >> torch.arange(n)) % 2 > 0
    rows = torch.randn(3, 2**n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    part = torch.tensor([0, 1, 2, 1, 2])
    means = means_by_part(rows, Parts(part, 3), lambda rows, parts: sums_by_part([every], rows, parts))
    p = torch.full((n,), 0.5, dtype=torch.float64, requires_grad=True)
    likely = torch.where(every, p, 1 - p).prod(dim=1)
    for i in range(n):
        (gradient,) = torch.autograd.grad(likely @ rows[part[i]], p, retain_graph=True)
        assert float(means.f[i] - means.f_bar[i]) == pytest.approx(float(gradient[i]))


def test_one_part_for_all_is_as_none_and_parts_are_as_evolutions_of_their_own() -> None:
    def fitness(x: Tensor) -> Tensor:
        return torch.stack([ones(x), ones(x[:, :10]), -ones(x[:, 10:])])

    alone, together = Evolution(30, 40, seed=2), Evolution(30, 40, seed=2, part=[0] * 30)
    by_parts = Evolution(30, 40, seed=2, part=[1] * 10 + [2] * 20, epsilon=0.3)
    for _ in range(3):
        alone.tell(ones(alone.ask()))
        together.tell(ones(together.ask())[None])
        assert torch.equal(alone.p, together.p)
        x = by_parts.ask()
        metrics = by_parts.tell(fitness(x))
        assert metrics["fitness/best"] == float(ones(x).max())
    start = Evolution(30, 40, seed=2, epsilon=0.3)
    x = start.ask()
    start.tell(fitness(x)[1])
    first = Evolution(30, 40, seed=2, part=[1] * 10 + [2] * 20, epsilon=0.3)
    first.ask()
    first.tell(fitness(x))
    assert torch.equal(first.p[:10], start.p[:10])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 9), st.integers(1, 4))
def test_sums_by_part_are_those_of_a_loop_in_whatever_order_parts_come(part: list[int], N: int, tile: int) -> None:
    stream = torch.Generator().manual_seed(N)
    x = torch.rand(N, len(part), generator=stream) < 0.5
    rows = torch.randn(5, N, generator=stream, dtype=torch.float64)
    found = sums_by_part(torch.split(x, tile), rows, Parts(torch.tensor(part), 5))
    for g, k in enumerate(part):
        carriers = [i for i in range(N) if x[i, g]]
        assert float(found[0, g]) == pytest.approx(sum(float(rows[k, i]) for i in carriers))
        assert int(found[1, g]) == len(carriers)


def test_parts_that_add_up_explain_all_of_fitness_and_predict_its_response() -> None:
    part = torch.tensor([1] * 10 + [2] * 20)
    evolution = Evolution(30, 400, seed=2, part=part, epsilon=0.1, p0=0.5)
    effects = torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for _ in range(20):
        x = evolution.ask().double()
        first, second = x[:, :10] @ effects[:10], x[:, 10:] @ effects[10:]
        metrics = evolution.tell(torch.stack([first + second, first, second]))
        assert metrics["selection/heritability"] == pytest.approx(1, abs=0.15)
    assert metrics["response/realised"] == pytest.approx(metrics["response/predicted"], rel=0.2)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"part": [0, 1]}, r"part must be of shape \[5\], got \[2\]"),
        ({"part": [0, 1, 1, 3, 3]}, "part 2 has no gene"),
        ({"part": [0, 1, 1, 0.5, 2]}, "part must be whole numbers, from 0"),
        ({"part": "first"}, "part must be whole numbers, from 0, got str"),
        ({"p0": "half"}, "p0 must be one number or 5, got str"),
        ({"part": [0, 0, 1, 1, 1], "selection": "pbil"}, "fitness by parts is not for selection=pbil"),
    ],
)
def test_wrong_parts_are_one_line(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Evolution(genes=5, population=10, **how)


def test_what_is_asked_is_of_the_generation_that_it_is_in() -> None:
    evolution = Evolution(genes=40, population=30)
    first = evolution.ask_free(range(30))
    evolution.generation += 1
    assert torch.equal(evolution.ask_free(range(30)), evolution.ask())
    assert not torch.equal(evolution.ask(), first)
