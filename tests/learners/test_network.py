"""The learner: it learns, it repeats itself exactly, and it can be saved between any two generations."""

import pytest
import torch

from nne.learners.network import NetworkEvolution
from nne.population.base import SparseNetworks
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.io.checkpoint import state_sha256
from tests.conftest import altered


def fingerprint(learner: NetworkEvolution, steps: int) -> str:
    for _ in range(steps):
        learner.step()
    return state_sha256(learner.state_dict())


@pytest.mark.parametrize(
    ("fitness", "epsilon", "rise"), [("none", 100, 0.05), ("standardise", 1, 0.4), ("rank", 1, 0.4)]
)
def test_fitness_rises(
    small: Config, digits: Dataset, fp32: Compute, fitness: str, epsilon: float, rise: float
) -> None:
    """Raw fitness selects weakly, however large epsilon is: its spread over the population is small."""
    learner = NetworkEvolution(altered(small, fitness=fitness, epsilon=epsilon, batch=None), digits, fp32)
    rewards = [learner.step()["fitness/mean"] for _ in range(25)]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + rise


def test_individuals_learn_to_tell_digits_apart(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = NetworkEvolution(altered(small, population=300), digits, fp32)
    before = learner.evaluate(digits.test_images, digits.test_labels)
    for _ in range(60):
        learner.step()
    after = learner.summary(digits.test_images, digits.test_labels)
    assert before["test/individuals"] < 0.2
    assert after["individuals"]["mean"] > 0.35
    assert after["vote"] > 0.4
    assert after["heterozygosity"] < 0.3


def test_same_seed_same_bits(small: Config, digits: Dataset, fp32: Compute) -> None:
    first, second = (fingerprint(NetworkEvolution(small, digits, fp32), 4) for _ in range(2))
    assert first == second


def test_another_seed_is_another_run(small: Config, digits: Dataset, fp32: Compute) -> None:
    other = altered(small)
    other.seed = 1
    assert fingerprint(NetworkEvolution(small, digits, fp32), 1) != fingerprint(
        NetworkEvolution(other, digits, fp32), 1
    )


def test_resumed_equals_unbroken_bit_for_bit(small: Config, digits: Dataset, fp32: Compute) -> None:
    unbroken = NetworkEvolution(small, digits, fp32)
    broken = NetworkEvolution(small, digits, fp32)
    fingerprint(broken, 3)
    resumed = NetworkEvolution(small, digits, fp32)
    resumed.load_state_dict(broken.state_dict())
    assert fingerprint(resumed, 9) == fingerprint(unbroken, 12)


def test_it_can_go_back_to_before_alleles_were_frozen(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = NetworkEvolution(altered(small, freeze=0.3), digits, fp32)
    saved = learner.state_dict()
    first = fingerprint(learner, 5)
    assert len(learner.evolution.free) < len(learner.evolution.p)
    learner.load_state_dict(saved)
    assert fingerprint(learner, 5) == first


def test_as_many_free_genes_need_not_be_the_same(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner, other = (NetworkEvolution(altered(small, freeze=0.3), digits, fp32) for _ in range(2))
    state = learner.state_dict()
    for each, free in ((learner, slice(0, 150)), (other, slice(150, 300))):
        kept = torch.zeros(300, dtype=torch.bool).index_fill(0, torch.arange(300)[free], True)
        each.load_state_dict(state | {"free": kept})
    learner.load_state_dict(other.state_dict())
    assert fingerprint(learner, 2) == fingerprint(other, 2)


def test_a_gene_that_does_not_vary_in_the_sample_does_not_move(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = NetworkEvolution(small, digits, fp32)
    learner.evolution.p[:50] = 1e-7  # nobody of 70 will carry these
    learner.evolution.p[50:60] = 1.0
    before = learner.evolution.p.clone()
    learner.step()
    assert torch.equal(learner.evolution.p[:60], before[:60])
    assert not bool((learner.evolution.p[60:] == before[60:]).all())


def test_minibatches_are_shared_fresh_and_within_the_training_set(
    small: Config, digits: Dataset, fp32: Compute
) -> None:
    learner = NetworkEvolution(small, digits, fp32)
    first, again, next_one = (learner.environment.minibatch(generation)[0] for generation in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, next_one)
    assert first.shape == (40, 784)
    everything = NetworkEvolution(altered(small, batch=None), digits, fp32).environment.minibatch(0)
    assert len(everything[1]) == 200


def test_the_temperature_is_the_spread_of_the_logits_unless_given(
    small: Config, digits: Dataset, fp32: Compute
) -> None:
    learner = NetworkEvolution(small, digits, fp32)
    fewer = NetworkEvolution(altered(small, genes=75), digits, fp32)
    x, networks = learner.genotypes(range(64)), learner.population
    assert isinstance(networks, SparseNetworks)
    weights = x.double() @ networks.whole.dense().T
    first, images = networks.topology.first, digits.train_images.double()
    edges = len(first.unit)
    spreads = []
    for w in weights:
        w_in = torch.zeros(784, 40, dtype=torch.float64)
        w_in[first.source, first.unit] = w[:edges]
        spreads.append(((images @ w_in).relu() @ w[edges:].view(40, 10)).std(dim=1).mean())
    temperature = learner.environment.temperature
    assert temperature == pytest.approx(float(torch.stack(spreads).mean()), rel=1e-4)
    assert 2 < temperature / fewer.environment.temperature < 8  # in proportion to the number of genes, 4 here
    assert NetworkEvolution(altered(small, temperature=3.5), digits, fp32).environment.temperature == 3.5


def test_selection_is_weak_then_strong(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = NetworkEvolution(altered(small, epsilon=2.0, epsilon_final=8.0, weak_until=0.5), digits, fp32)
    strengths = {}
    for learner.evolution.generation in (0, 10, 15, 20, 30):
        strengths[learner.evolution.generation] = learner.epsilon(learner.generation)
    assert strengths == pytest.approx({0: 2, 10: 2, 15: 4, 20: 8, 30: 8})


def test_it_stops_once_enough_alleles_are_fixed(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = NetworkEvolution(altered(small, stop_at_fixed=0.5), digits, fp32)
    assert learner.reason_to_stop() is None
    learner.evolution.p = learner.evolution.p.index_fill(0, torch.arange(200), 0.0)
    assert "of the alleles are fixed" in (learner.reason_to_stop() or "")


def test_a_state_of_another_size_is_refused(small: Config, digits: Dataset, fp32: Compute) -> None:
    state = NetworkEvolution(altered(small, genes=299), digits, fp32).state_dict()
    with pytest.raises(UserError, match="does not hold 300 allele frequencies"):
        NetworkEvolution(small, digits, fp32).load_state_dict(state)


def test_the_networks_that_stand_for_a_fixed_population_are_its_individuals(
    small: Config, digits: Dataset, fp32: Compute
) -> None:
    learner = NetworkEvolution(small, digits, fp32)
    learner.evolution.p = (learner.evolution.p > 0.5).double()
    result = learner.performance(digits.test_images, digits.test_labels, 3)
    assert result.individuals.tolist() == [result.modal] * 3
    assert result.mean_weights == result.modal == result.vote
    assert result.sd == 0
    assert float(result.confusion.diagonal().sum()) / 3000 == pytest.approx(result.modal)
    assert result.confusion.sum(dim=1).tolist() == [300.0] * 10


def test_figures_can_be_drawn(small: Config, digits: Dataset, fp32: Compute, tmp_path) -> None:  # type: ignore[no-untyped-def]
    learner = NetworkEvolution(small, digits, fp32)
    learner.step()
    for name, figure in learner.figures(digits.test_images, digits.test_labels):
        figure.savefig(tmp_path / f"{name}.png")
    sizes = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"convergence", "trajectories", "confusion", "receptive_fields"}
    assert min(sizes.values()) > 5000
