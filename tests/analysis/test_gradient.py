"""The gradient that a large population estimates, against enumeration; the command on a real run."""

import csv
from pathlib import Path

import pytest
import torch

from nne.analysis.gradient import alignment, cosine, gradient
from nne.learners.evolved import evolved
from nne.learners.network import NetworkEvolution
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from tests.conftest import SMALL, Command, altered, call


def test_the_gradient_is_that_of_lemma_1(small: Config, digits: Dataset, fp32: Compute) -> None:
    """Of mean fitness over all 2^7 genotypes, by autograd."""
    learner = NetworkEvolution(altered(small, genes=7, fitness="none"), digits, fp32)
    every = torch.arange(2**7)[:, None].bitwise_and(2 ** torch.arange(7)) > 0
    lived_in = learner.environment
    delta = lived_in.rewards_of(lambda who: every[who.start : who.stop], 2**7, lived_in.images, lived_in.labels)
    p = torch.linspace(0.2, 0.8, 7, dtype=torch.float64, requires_grad=True)
    chance = torch.where(every, p, 1 - p).prod(dim=1)
    (expected,) = torch.autograd.grad(chance @ delta, p)
    result = gradient(learner, p.detach(), 0, range(40_000))
    torch.testing.assert_close(result, expected, rtol=0, atol=0.02 * float(expected.abs().max()) + 0.003)


def test_noise_does_not_lower_the_cosine() -> None:
    stream = torch.Generator().manual_seed(0)
    step, true = (torch.randn(20_000, generator=stream, dtype=torch.float64) for _ in range(2))
    true += step
    first, second = (true + 3 * torch.randn(20_000, generator=stream, dtype=torch.float64) for _ in range(2))
    exact = float(step @ true / step.norm() / true.norm())
    assert cosine(step, first, second) == pytest.approx(exact, abs=0.06)
    assert float(step @ first / step.norm() / first.norm()) < 0.5 * exact


def test_a_generation_steps_along_the_gradient(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = NetworkEvolution(altered(small, population=400, batch=None, epsilon=0.1), digits, fp32)
    result = alignment(learner, learner.evolution.p, 0, 8000)
    assert result.natural > 0.3
    assert learner.generation == 1


def test_only_a_run_of_evolution_can_be_analysed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        evolved(tmp_path / "none", "none")


@pytest.mark.parametrize("what", ["architecture", "gradient"])
def test_the_command_prints_and_writes(what: str, tmp_path: Path, train: Command) -> None:
    assert train("experiment=nne_mnist10", *SMALL, "trainer.max_steps=10", "run_dir=a").returncode == 0
    done = call("analyse", what, "a", "--population", "200", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "outputs" / "theory" / f"{what}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["generation"] for row in rows] == ["0", "1", "3", "10"]
    assert (tmp_path / "outputs" / "theory" / f"{what}.png").exists()
    assert all("|".join(f" {cell} " for cell in row.values()) in done.stdout for row in rows)
    wrong = call("analyse", what, "none", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, "error: none: there is no such folder\n")
