"""``nne.Evolution`` as a library: ask, tell, freeze, save; and freezing inside the learner."""

import pytest
import torch
from torch import Tensor

from nne import Evolution
from nne.learners.network import NetworkEvolution
from nne.selection import RULES
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
    first, second = Evolution(genes=40, population=30, seed=3, tile=7), evolution
    for each in (first, second):
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
    with pytest.raises(UserError, match=r"fitness must be of shape \[4\], got \[3\]"):
        evolution.tell(torch.zeros(3))
    with pytest.raises(UserError, match="finite"):
        evolution.tell(torch.tensor([0.0, 1.0, float("nan"), 0.0]))
    assert evolution.generation == 0


def test_frozen_networks_are_the_same_networks(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = NetworkEvolution(altered(small, freeze=0.2, epsilon=2.0), digits, fp32)
    plain = NetworkEvolution(small, digits, fp32)
    while len(learner.evolution.free) > 200:
        learner.step()
    plain.load_state_dict(
        learner.state_dict() | {"free": torch.ones(300, dtype=torch.bool)},
    )
    images, labels = learner.minibatch()
    torch.testing.assert_close(learner.rewards(images, labels), plain.rewards(images, labels), rtol=1e-4, atol=1e-5)
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
