"""Gradient learners, against updates written out by hand, and individuals that evolve first and learn then."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nne.learners.config import FinetuneConfig
from nne.learners.finetune import Finetune
from nne.learners.network import NetworkEvolution
from nne.training.baselines.gradient import GradientDescent
from nne.training.config import Config, DataConfig, GradientConfig, NetworkConfig, TrainerConfig, to_dict
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.io import checkpoint
from nne.training.models.network import SparseNetwork, sparse_topology
from nne.training.models.output_layer import OutputLayer
from tests.conftest import Command, summary

DATA = DataConfig(source="embedded", per_class=20)


def settings(**learner: object) -> Config:
    own = GradientConfig(**learner)  # type: ignore[arg-type]
    return Config(data=DATA, network=NetworkConfig(hidden=40), learner=own, trainer=TrainerConfig(max_steps=10))


def whole_network(config: Config, digits: Dataset, compute: Compute) -> GradientDescent:
    network = SparseNetwork(sparse_topology(784, NetworkConfig(hidden=40), 10, 0), None, 0)
    return GradientDescent(config, digits, compute, network)


def output_layers(digits: Dataset, compute: Compute, networks: int, **learner: object) -> GradientDescent:
    """Several networks on the same pixels, with weights of their own."""
    w = torch.randn(networks, 10, 784, generator=torch.Generator().manual_seed(0)) / 28
    return GradientDescent(settings(**learner), digits, compute, OutputLayer(lambda images: images, w))


def test_sgd_is_gradient_descent_on_the_edges_there_are(digits: Dataset, fp32: Compute) -> None:
    learner = whole_network(settings(optimiser="sgd", learning_rate=0.5, batch=200), digits, fp32)
    network = learner.network
    assert isinstance(network, SparseNetwork)
    (layer,) = network.hidden
    W, V, there = (t.detach().double().clone() for t in (layer.weight, network.outputs, layer.present))
    learner.step()  # one batch: the whole of the training set
    images = digits.train_images.double()
    hidden = (images @ W.T).clamp(min=0)
    z = (hidden @ V).softmax(dim=1)
    error = (z - torch.nn.functional.one_hot(digits.train_labels, 10)) / len(images)
    back = (error @ V.T) * (hidden > 0)
    torch.testing.assert_close(network.outputs.double(), V - 0.5 * hidden.T @ error, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(layer.weight.double(), W - 0.5 * (back.T @ images) * there, rtol=1e-4, atol=1e-6)
    assert int(there.sum()) == int((layer.weight != 0).sum()) < 0.15 * there.numel()


def test_sgd_learns_digits(digits: Dataset, fp32: Compute) -> None:
    learner = whole_network(settings(optimiser="sgd", learning_rate=0.1, batch=20), digits, fp32)
    for _ in range(15):
        metrics = learner.step()
    assert metrics["train/accuracy"] > 0.75
    assert learner.evaluate(digits.test_images, digits.test_labels)["test/accuracy"] > 0.6


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "signsgd"])
def test_networks_that_train_together_do_not_feel_each_other(digits: Dataset, fp32: Compute, optimiser: str) -> None:
    together = output_layers(digits, fp32, 3, optimiser=optimiser, learning_rate=0.01)
    alone = output_layers(digits, fp32, 3, optimiser=optimiser, learning_rate=0.01)
    assert isinstance(alone.network, OutputLayer)
    alone.network.w.data = alone.network.w.data[1:2].clone()
    alone = GradientDescent(settings(optimiser=optimiser, learning_rate=0.01), digits, fp32, alone.network)
    for _ in range(2):
        together.step()
        alone.step()
    assert isinstance(together.network, OutputLayer)
    difference = (together.network.w[1] - alone.network.w[0]).abs()
    assert float((difference > 1e-5).double().mean()) < 0.001  # SignSGD may turn a gradient of rounding size
    result = together.summary(digits.test_images, digits.test_labels)
    assert len(result["networks"]) == 3
    assert result["test_accuracy"] == pytest.approx(sum(result["networks"]) / 3)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "signsgd"])
def test_a_restored_learner_goes_on_with_the_same_bits(digits: Dataset, fp32: Compute, optimiser: str) -> None:
    config = settings(optimiser=optimiser, learning_rate=0.01, decay="linear")
    one, other = whole_network(config, digits, fp32), whole_network(config, digits, fp32)
    for _ in range(2):
        one.step()
    other.load_state_dict({name: tensor.clone() for name, tensor in one.state_dict().items()})
    for _ in range(2):
        assert one.step() == other.step()
    assert all(torch.equal(t, other.state_dict()[name]) for name, t in one.state_dict().items())
    with pytest.raises(UserError, match="the checkpoint is of another network"):
        output_layers(digits, fp32, 1).load_state_dict(one.state_dict())


def test_what_does_not_fit_in_memory_is_seen_again(
    digits: Dataset, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, again = (whole_network(settings(), digits, fp32) for _ in range(2))
    before = kept.accuracies(digits.test_images, digits.test_labels)
    assert kept._tested is not None
    assert torch.equal(before, kept.accuracies(digits.test_images, digits.test_labels))
    monkeypatch.setattr("nne.training.baselines.gradient.MEMORY_SHARE", 0.0)
    assert torch.equal(before, again.accuracies(digits.test_images, digits.test_labels))
    assert again._tested is None


@pytest.fixture
def evolved(small: Config, digits: Dataset, fp32: Compute, tmp_path: Path) -> Path:
    """A run folder with the checkpoint of a short evolution."""
    learner = NetworkEvolution(small, digits, fp32)
    for _ in range(3):
        learner.step()
    metadata = checkpoint.Metadata("nne_mnist10", digits.name, 3, 1.0, to_dict(small))
    checkpoint.save(tmp_path / "evolved" / "checkpoints", learner.state_dict(), metadata, 1)
    return tmp_path / "evolved"


def finetune_config(evolved: Path, small: Config, seed: int = 0, **learner: object) -> Config:
    own = FinetuneConfig(evolved=str(evolved), individuals=4, learning_rate=0.001, **learner)  # type: ignore[arg-type]
    return replace(small, seed=seed, learner=own, trainer=TrainerConfig(max_steps=60))


def test_individuals_are_born_as_evolution_would_have_them(
    evolved: Path, small: Config, digits: Dataset, fp32: Compute
) -> None:
    learner = Finetune(finetune_config(evolved, small), digits, fp32)
    parents = NetworkEvolution(small, digits, fp32)
    state, metadata = checkpoint.load_latest(evolved / "checkpoints")
    parents.load_state_dict(state)
    from nne.genome import draw

    x = draw(parents.evolution.p, 0, metadata.step, range(4), stream="lifetime")
    of_population = torch.zeros(4, dtype=torch.float64)
    for who, which, logits in parents.tested.evaluate(
        lambda some: x[some.start : some.stop], range(4), digits.test_images
    ):
        of_population[who.start : who.stop] += (logits.argmax(dim=1) == digits.test_labels[which]).sum(dim=1)
    assert torch.equal(learner.initial, of_population / len(digits.test_labels))


def test_finetuning_improves_and_touches_the_output_layer_alone(
    evolved: Path, small: Config, digits: Dataset, fp32: Compute
) -> None:
    learner = Finetune(finetune_config(evolved, small), digits, fp32)
    seen = learner.seen
    assert isinstance(seen, Tensor)
    before = seen.clone()
    for _ in range(60):
        learner.step()
    assert torch.equal(before, seen)
    result = learner.summary(digits.test_images, digits.test_labels)
    assert result["after"]["mean"] > result["before"]["mean"] + 0.1
    assert result["test_accuracy"] == result["after"]["mean"]
    assert len(result["after"]["each"]) == 4
    assert not torch.equal(learner.initial, Finetune(finetune_config(evolved, small, seed=1), digits, fp32).initial)


def test_an_evolved_run_that_does_not_fit_is_refused(
    evolved: Path, small: Config, digits: Dataset, fp32: Compute
) -> None:
    config = finetune_config(evolved, small)
    wider = replace(config, network=NetworkConfig(hidden=50, beta=0.02))
    fewer = replace(config, data=replace(DATA, classes=[0, 1]))
    for wrong, message in (
        (finetune_config(evolved.parent / "nowhere", small), "there is no such folder"),
        (wider, r"does not fit: network was .*hidden=40.* there, is .*hidden=50.* here"),
        (fewer, r"does not fit: data\.classes was \[0, 1, .*\] there, is \[0, 1\] here"),
    ):
        with pytest.raises(UserError, match=message):
            Finetune(wrong, digits, fp32)
    state, metadata = checkpoint.load_latest(evolved / "checkpoints")
    other = replace(metadata, config=to_dict(settings()), step=4)
    checkpoint.save(evolved / "checkpoints", state, other, 1)
    with pytest.raises(UserError, match=r"must be a run of learner=evolution, is of gradient"):
        Finetune(config, digits, fp32)


def test_the_command_evolves_first_and_can_use_what_evolved(train: Command, tmp_path: Path) -> None:
    tiny = ["data=embedded", "data.per_class=20", "network.hidden=40", "network.beta=0.02", "trainer.max_steps=10"]
    genes = "'learner.genes=300','learner.population=70','learner.batch=40','learner.test_individuals=5'"
    first = f"learner.evolve=['experiment=nne_mnist10',{genes},'trainer.max_steps=5']"
    done = train("experiment=nne_signsgd_mnist10", *tiny, first, "learner.individuals=3", "run_dir=run", "seed=2")
    assert done.returncode == 0, done.stderr
    result, parents = summary(tmp_path / "run"), summary(tmp_path / "run" / "evolved")
    assert (parents["experiment"], parents["seed"], parents["generations"]) == ("nne_mnist10", 2, 5)
    assert parents["config"]["network"] == result["config"]["network"]
    assert len(result["after"]["each"]) == 3
    again = ["learner.evolved=run/evolved", "learner.individuals=3", "run_dir=again", "seed=2"]
    done = train("experiment=nne_signsgd_mnist10", *tiny, *again)
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "again")["state_sha256"] == result["state_sha256"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("learner.evolved=nowhere", "learner.evolved=nowhere: there is no such folder"),
        ("learner.evolve=['experiment=nne_mnist1']", "there is no experiment=nne_mnist1; did you mean"),
        ("learner.evolve=['experiment=sgd_mnist10']", "learner.evolve must give learner=evolution, gives gradient"),
    ],
)
def test_a_wrong_beginning_is_one_line(train: Command, tmp_path: Path, override: str, expected: str) -> None:
    done = train("experiment=nne_signsgd_mnist10", "data=embedded", override)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {expected}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("experiment", "overrides"),
    [
        ("adam_features_h1000", ["learner.optimiser=sgd", "learner.learning_rate=1e38"]),
        ("dnn_h1000", ["learner.rule=introduction", "learner.epsilon_1=1e38"]),
    ],
)
def test_logits_that_overflow_stop_the_run_with_a_checkpoint(
    train: Command, tmp_path: Path, experiment: str, overrides: list[str]
) -> None:
    small = ["data=embedded", "data.per_class=20", "features.width=50", "trainer.max_steps=20", "run_dir=run"]
    done = train(f"experiment={experiment}", *small, *overrides)
    assert done.returncode == 2
    result = re.fullmatch(
        r"error: (?:logits/largest|train/loss) is no longer finite at epoch (\d+); "
        r"the last checkpoint is of epoch (\d+); go on with: python scripts/train\.py resume=run\n",
        done.stderr,
    )
    assert result, done.stderr
    _, metadata = checkpoint.load_latest(tmp_path / "run" / "checkpoints")
    assert metadata.step == int(result[2]) < int(result[1])
