"""Spiking neurons against a loop over single neurons; what they come to stand for; and what is one line."""

import pytest
import torch

from nne.registry import build, composed
from nne.training import data
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.seeding import generator
from nne.zoo import diehl_cook
from nne.zoo.diehl_cook import DiehlCook


def made(*overrides: str) -> tuple[DiehlCook, Dataset]:
    small = ["data=embedded", "data.per_class=20", "learner.neurons=12", "learner.milliseconds=60"]
    config = composed("experiment=spiking_mnist10", *small, *overrides)
    digits = data.load(config.images, config.seed)
    learner = build(config, digits, Compute(torch.device("cpu"), torch.float32))
    assert isinstance(learner, DiehlCook)
    return learner, digits


def alone(learner: DiehlCook, image: torch.Tensor, stream: torch.Generator) -> list[int]:
    """What one image does, a neuron and a synapse at a time: the counts of spikes; weights and thresholds move."""
    w, theta = learner.w.double().tolist(), learner.theta.tolist()
    neurons, pixels = range(len(w)), range(len(w[0]))
    v, quiet, counts, trace = (
        [-65.0 for _ in neurons],
        [0 for _ in neurons],
        [0 for _ in neurons],
        [0.0 for _ in pixels],
    )
    for _ in range(learner.rule.milliseconds):
        drawn = torch.rand(1, len(trace), generator=stream)[0].tolist()
        spikes = [draw < float(x * diehl_cook.RATE) for draw, x in zip(drawn, image, strict=True)]
        trace = [1.0 if spike else old * diehl_cook.TRACE for spike, old in zip(spikes, trace, strict=True)]
        for j in neurons:
            v[j] = -65 + (v[j] + 65) * diehl_cook.MEMBRANE
            if quiet[j] <= 0:
                v[j] += sum(w[j][i] for i in pixels if spikes[i])
            quiet[j] -= 1
        first = max(neurons, key=lambda j: v[j] - theta[j])
        if v[first] + 52 >= theta[first]:
            v = [each - learner.rule.inhibition for each in v]
            v[first], quiet[first] = -60.0, 5
            counts[first] += 1
            for i in pixels:
                step = learner.rule.eta * (trace[i] - 0.4) * (1 - w[first][i]) ** 0.2
                w[first][i] = min(max(w[first][i] + step, 0.0), 1.0)
            theta[first] += learner.rule.theta_plus
    w = [[each * learner.norm / sum(row) for each in row] for row in w]
    learner.w, learner.theta = torch.tensor(w), torch.tensor(theta)
    return counts


def test_one_image_does_what_the_equations_say() -> None:
    (ours, digits), (theirs, _) = made(), made()
    for k in range(3):
        image = digits.train_images[50 * k : 50 * k + 1]
        counts = ours.shown(image, generator(0, "a test", k), learns=True)
        expected = alone(theirs, image[0], generator(0, "a test", k))
        assert counts[0].tolist() == expected
        assert sum(expected) > 2
        torch.testing.assert_close(ours.w, theirs.w, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.theta, theirs.theta)


@pytest.mark.slow
def test_it_learns_without_labels_and_every_neuron_keeps_its_sum() -> None:
    learner, digits = made("learner.milliseconds=150", "learner.batch=5", "learner.theta_plus=0.2")
    for _ in range(4):
        metrics = learner.step()
    assert learner.evaluate(digits.test_images[::10], digits.test_labels[::10])["test/accuracy"] > 0.25
    torch.testing.assert_close(learner.w.sum(dim=1), torch.full((12,), 78.4))
    assert metrics["spikes/image"] > 1
    assert float(learner.theta.max()) > 0


def test_silence_is_a_figure_and_not_an_error() -> None:
    learner, digits = made("learner.milliseconds=1")
    assert learner.step()["neurons/silent"] == 1
    assert learner.evaluate(digits.test_images[::60], digits.test_labels[::60])["test/accuracy"] < 0.3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features=random", "learner=diehl_cook has its own layer; choose network=none, features=none"),
        ("learner.milliseconds=0", r"learner\.milliseconds must be at least 1, got 0"),
        ("learner.theta_plus=-1", r"learner\.theta_plus must be at least 0, got -1"),
    ],
)
def test_a_mistake_is_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed("experiment=spiking_mnist10", override)
