"""The response to selection: estimates against a trait whose effects are known, and a real evolution's own figures."""

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nne.fitness import AlleleMeans
from nne.response import additive_variance, noise, predicted_response
from nne.selection import weak_selection
from tests.conftest import SMALL, Command
from tests.shapes import means_of

GENES, INDIVIDUALS, SAMPLES = 60, 200, 600


@pytest.fixture(scope="module")
def trait() -> tuple[Tensor, Tensor, list[AlleleMeans]]:
    """Frequencies, effects, and the means of many samples of a trait that is additive but for chance."""
    stream = torch.Generator().manual_seed(0)
    p = 0.1 + 0.8 * torch.rand(GENES, generator=stream, dtype=torch.float64)
    alpha = 0.1 * torch.randn(GENES, generator=stream, dtype=torch.float64)
    samples = []
    for _ in range(SAMPLES):
        x = torch.rand(INDIVIDUALS, GENES, generator=stream, dtype=torch.float64) < p
        luck = torch.randn(INDIVIDUALS, generator=stream, dtype=torch.float64)
        samples.append(means_of(x, x.double() @ alpha + luck))
    return p, alpha, samples


def within_error(result: Tensor, expected: float) -> bool:
    """Whether a mean over samples is within four standard errors."""
    return abs(float(result.mean()) - expected) < 4 * float(result.std()) / len(result) ** 0.5


def test_additive_variance_is_estimated_without_bias(trait: tuple[Tensor, Tensor, list[AlleleMeans]]) -> None:
    p, alpha, samples = trait
    true = float((p * (1 - p) * alpha.square()).sum())
    result = torch.stack([additive_variance(means) for means in samples])
    assert within_error(result, true * (1 - 1 / INDIVIDUALS))
    assert not within_error(result + torch.stack([noise(means) for means in samples]), true)


def test_the_predicted_response_is_what_mean_fitness_gains(trait: tuple[Tensor, Tensor, list[AlleleMeans]]) -> None:
    p, alpha, samples = trait
    predicted, gained = [], []
    for means in samples:
        after = weak_selection(p, means.f, means.f_bar, 0.1)
        predicted.append(predicted_response(after - p, means))
        gained.append((after - p) @ alpha)
    assert within_error(torch.stack(predicted) - torch.stack(gained), 0)
    assert float(torch.stack(gained).mean()) > 0


def test_a_gene_that_does_not_vary_says_nothing() -> None:
    x = torch.tensor([[True, False], [True, False], [True, True]])
    means = means_of(x, torch.tensor([1.0, 2.0, 6.0]))
    assert means.polymorphic.tolist() == [False, True]
    p = torch.tensor([1.0, 0.5], dtype=torch.float64)
    still = predicted_response(p - p, means)
    assert float(still) == 0
    assert float(noise(means)) == pytest.approx(float(means.variance) / 3)


def test_a_run_logs_what_selection_should_and_did_achieve(train: Command, tmp_path: Path) -> None:
    alike = ["learner.batch=null", "learner.population=400", "learner.epsilon=0.5", "learner.epsilon_final=null"]
    done = train("experiment=nne_mnist10", *SMALL, *alike, "trainer.max_steps=25", "run_dir=run")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert 0.7 < float(last["response/realised"]) / float(last["response/predicted"]) < 1.4
    assert 0 < float(last["selection/heritability"]) <= 1.5
