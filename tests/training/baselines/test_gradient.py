"""Gradient learners, against updates written out by hand."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nne.training.baselines.gradient import GradientDescent
from nne.training.config import Config, GradientConfig, TrainerConfig
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.io import checkpoint
from nne.training.models.network import SparseNetwork, sparse_topology
from nne.training.models.output_layer import OutputLayer
from nne.training.parts import DataConfig, NetworkConfig
from tests.conftest import Command

DATA = DataConfig(source="embedded", per_class=20)


def settings(**learner: object) -> Config:
    own = GradientConfig(**learner)  # type: ignore[arg-type]
    return Config(data=DATA, network=NetworkConfig(hidden=40), learner=own, trainer=TrainerConfig(max_steps=10))


class Pixels:
    """No hidden layer."""

    def __call__(self, images: Tensor) -> Tensor:
        return images

    def layers(self) -> list[nn.Module]:
        return []


def whole_network(config: Config, digits: Dataset, compute: Compute) -> GradientDescent:
    network = SparseNetwork(sparse_topology(784, NetworkConfig(hidden=40), 10, 0), None, 0)
    return GradientDescent(config, digits, compute, network)


def output_layers(digits: Dataset, compute: Compute, networks: int, **learner: object) -> GradientDescent:
    """Several networks on the same pixels, with weights of their own."""
    w = torch.randn(networks, 10, 784, generator=torch.Generator().manual_seed(0)) / 28
    return GradientDescent(settings(**learner), digits, compute, OutputLayer(Pixels(), w))


def test_sgd_is_gradient_descent_on_the_edges_there_are(digits: Dataset, fp32: Compute) -> None:
    learner = whole_network(settings(optimiser="sgd", learning_rate=0.5, batch=200), digits, fp32)
    network = learner.network
    assert isinstance(network, SparseNetwork)
    (layer,) = network.hidden
    weight = layer.get_parameter("weight")
    W, V = (t.detach().double().clone() for t in (weight, network.outputs))
    there = layer.get_buffer("present").double()
    learner.step()  # one batch: the whole of the training set
    images = digits.train_images.double()
    hidden = (images @ W.T).clamp(min=0)
    z = (hidden @ V).softmax(dim=1)
    error = (z - torch.nn.functional.one_hot(digits.train_labels, 10)) / len(images)
    back = (error @ V.T) * (hidden > 0)
    torch.testing.assert_close(network.outputs.double(), V - 0.5 * hidden.T @ error, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weight.double(), W - 0.5 * (back.T @ images) * there, rtol=1e-4, atol=1e-6)
    assert int(there.sum()) == int((weight != 0).sum()) < 0.15 * there.numel()


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
    assert isinstance(alone.network, OutputLayer)
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
