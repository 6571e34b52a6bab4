"""Spikes and a reward, against a loop over single pixels and neurons."""

import pytest
import torch
from torch import Tensor

from nne.registry import build, composed
from nne.training import data
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.zoo.reward_stdp import RewardStdp, fired_by, race

TIMES, THRESHOLD = 6, 2.0


def made(*overrides: str) -> tuple[RewardStdp, Dataset]:
    small = ["data=embedded", "data.per_class=20", "learner.neurons=4"]
    config = composed("experiment=rstdp_mnist10", *small, *overrides)
    digits = data.load(config.images, config.seed)
    learner = build(config, digits, Compute(torch.device("cpu"), torch.float32))
    assert isinstance(learner, RewardStdp)
    return learner, digits


def first_to_fire(w: list[list[float]], image: list[float], left_out: set[int]) -> tuple[int, int]:
    """The neuron that answers, and when: by the first time at which any reaches the threshold."""
    for time in range(1, TIMES + 1):
        potentials = {
            j: sum(v for v, x in zip(row, image, strict=True) if x >= (TIMES - time + 1) / TIMES - 1e-7)
            for j, row in enumerate(w)
            if j not in left_out
        }
        best = max(potentials, key=lambda j: potentials[j])
        if potentials[best] >= THRESHOLD:
            return best, time
    return best, TIMES


def test_one_update_is_what_the_equations_say() -> None:
    learner, _ = made(f"learner.times={TIMES}", f"learner.threshold={THRESHOLD}", "learner.learning_rate=0.02")
    stream = torch.Generator().manual_seed(0)
    images, labels = torch.rand(30, 9, generator=stream), torch.randint(10, (30,), generator=stream)
    learner.w = 0.1 + 0.5 * torch.rand(40, 9, generator=stream)
    learner.error = torch.tensor(0.3)
    kept = torch.rand(30, 40, generator=stream) > 0.4
    before, expected = learner.w.tolist(), learner.w.double()
    wrong = 0
    for image, label, keep in zip(images.tolist(), labels.tolist(), kept.tolist(), strict=True):
        winner, time = first_to_fire(before, image, {j for j, there in enumerate(keep) if not there})
        right = winner // 4 == label
        wrong += not right
        for i, x in enumerate(image):
            fired = x >= (TIMES - time + 1) / TIMES - 1e-7
            sign = (0.3 * (5 if fired else -3)) if right else (0.7 * (-2 if fired else 1))
            expected[winner, i] += 0.02 * sign * before[winner][i] * (1 - before[winner][i])
    missed, _ = learner.learn(images, labels, kept)
    assert int(missed) == wrong > 10
    torch.testing.assert_close(learner.w.double(), expected.clamp(0, 1), rtol=1e-5, atol=1e-6)


def test_bright_pixels_fire_first_and_black_ones_never() -> None:
    fired = fired_by(torch.tensor([[1.0, 0.6, 0.2, 0.0]]), 4)
    assert fired.tolist() == [[[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]]


def test_without_a_spike_the_largest_potential_answers() -> None:
    w = torch.tensor([[0.1, 0.1], [0.2, 0.2]])
    when, score = race(w, fired_by(torch.ones(1, 2), 3), threshold=5.0)
    assert when.tolist() == [[3, 3]]
    assert int(score.argmax()) == 1


def test_it_learns_and_says_how_many_images_are_met_by_silence() -> None:
    learner, digits = made("learner.threshold=40")
    for _ in range(10):
        metrics = learner.step()
    assert learner.evaluate(digits.test_images, digits.test_labels)["test/accuracy"] > 0.4
    assert 0 <= metrics["spikes/silent"] < 0.5
    assert 0 <= float(learner.w.min()) < float(learner.w.max()) <= 1
    silent, _ = made("learner.threshold=1000")
    assert silent.step()["spikes/silent"] == 1


def test_a_mistake_is_one_line() -> None:
    with pytest.raises(UserError, match="learner=reward_stdp has its own layer; choose network=none, features=none"):
        composed("experiment=rstdp_mnist10", "network=sparse")
    with pytest.raises(UserError, match=r"learner\.times must be at least 1, got 0"):
        composed("experiment=rstdp_mnist10", "learner.times=0")


def scores(learner: RewardStdp, images: Tensor) -> Tensor:
    exported: Tensor = learner.as_module()(images)
    return exported.argmax(dim=1)


def test_the_exported_race_has_the_same_winner() -> None:
    learner, digits = made()
    learner.step()
    assert torch.equal(scores(learner, digits.test_images), learner.answers(digits.test_images))
