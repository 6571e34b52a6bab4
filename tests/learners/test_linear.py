"""Linear targets (Sec. 2.1): exact mathematics by enumeration, autograd and sampling; Theorem 1; the real command."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nne.selection import weak_selection
from nne.theory.linear import LinearTarget, allele_fitness, guaranteed_decrease, largest_epsilon, linear_target
from nne.training.config import Config
from nne.training.errors import UserError
from tests.conftest import Command, summary, without_times

TARGETS = st.builds(
    lambda m, n, share, seed: linear_target(m, n, max(1, round(m * share)), seed),
    m=st.integers(2, 8),
    n=st.integers(1, 40),
    share=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)


def frequencies(target: LinearTarget, seed: int) -> Tensor:
    return torch.rand(target.W.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def every_genotype(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([False, True], repeat=n)))


def probability(x: Tensor, p: Tensor) -> Tensor:
    """Of each genotype, ``[2^n]``."""
    return torch.where(x, p, 1 - p).prod(dim=1)


def test_the_loss_of_a_genotype_is_the_expectation_over_the_unit_ball() -> None:
    target = linear_target(5, 12, 2, 0)
    x = torch.rand(12) < 0.5
    stream = torch.Generator().manual_seed(1)
    directions = torch.randn(400_000, 5, generator=stream, dtype=torch.float64)
    radii = torch.rand(400_000, 1, generator=stream, dtype=torch.float64) ** (1 / 5)
    y = directions / directions.norm(dim=1, keepdim=True) * radii
    errors = (y @ (target.W @ x.double() - target.a)).square()
    assert float(target.losses(x[None])) == pytest.approx(float(errors.mean()), rel=0.02)


def test_lemma_1_by_enumeration_of_all_genotypes() -> None:
    target = linear_target(3, 9, 2, 5)
    p = frequencies(target, 0).requires_grad_()
    x = every_genotype(9)
    losses, weight = target.losses(x), probability(x, p)
    L = weight @ losses
    (gradient,) = torch.autograd.grad(L, p)
    with torch.no_grad():
        share = weight[:, None] * x
        f = -(share * losses[:, None]).sum(dim=0) / share.sum(dim=0)
        share = weight[:, None] * ~x
        f_bar = -(share * losses[:, None]).sum(dim=0) / share.sum(dim=0)
        torch.testing.assert_close(L.expand(9), -f_bar - p * (f - f_bar), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, -(f - f_bar), rtol=1e-12, atol=1e-12)
        w = target.W @ p
        torch.testing.assert_close(target.loss(p, w), L, rtol=1e-12, atol=1e-12)
        ours = allele_fitness(p, target.loss(p, w), target.gradient(p, w))
        torch.testing.assert_close(ours, (f, f_bar), rtol=1e-11, atol=1e-11)


@given(TARGETS, st.integers(0, 100))
def test_gradient_and_hessian_are_those_of_autograd(target: LinearTarget, seed: int) -> None:
    p = frequencies(target, seed)

    def loss(p: Tensor) -> Tensor:
        return target.loss(p, target.W @ p)

    torch.testing.assert_close(target.gradient(p, target.W @ p), torch.func.grad(loss)(p))
    torch.testing.assert_close(target.hessian(), torch.func.hessian(loss)(p))
    assert float(torch.linalg.eigvalsh(target.hessian())[-1]) <= target.H + 1e-9


@given(TARGETS, st.integers(0, 100), st.floats(0.01, 1))
def test_theorem_1_the_loss_falls_at_least_as_guaranteed(target: LinearTarget, seed: int, share: float) -> None:
    p = frequencies(target, seed)
    for _ in range(5):
        w = target.W @ p
        loss, gradient = target.loss(p, w), target.gradient(p, w)
        f, f_bar = allele_fitness(p, loss, gradient)
        epsilon = share * largest_epsilon(f, f_bar, target.H)
        after = weak_selection(p, f, f_bar, epsilon)
        fall = loss - target.loss(after, target.W @ after)
        assert fall >= guaranteed_decrease(p, loss, gradient, epsilon) - 1e-12 * loss
        p = after


def test_a_loss_that_is_small_only_on_average_does_not_allow_strong_selection() -> None:
    """With ``U`` the mean loss alone, the rare carriers of a bad allele would have fewer than no offspring."""
    target = linear_target(2, 2, 1, 2)
    p = torch.tensor([0.106, 0.097], dtype=torch.float64)
    w = target.W @ p
    loss, gradient = target.loss(p, w), target.gradient(p, w)
    f, f_bar = allele_fitness(p, loss, gradient)
    allowed = largest_epsilon(f, f_bar, target.H)
    assert float((1 + allowed * torch.minimum(f, f_bar)).min()) >= 0.5 - 1e-12
    assert allowed < min(1 / max(2 * float(loss), 1), 2 / target.H)


def test_in_the_limit_of_weak_selection_the_loss_falls_by_twice_what_is_guaranteed() -> None:
    """To first order it falls by ``sum_i gamma_i (dL / dp_i)^2``; half of it is what the proof keeps."""
    target = linear_target(4, 30, 2, 0)
    p = frequencies(target, 0)
    w = target.W @ p
    loss, gradient = target.loss(p, w), target.gradient(p, w)
    after = weak_selection(p, *allele_fitness(p, loss, gradient), 1e-7)
    fall = loss - target.loss(after, target.W @ after)
    assert float(fall / guaranteed_decrease(p, loss, gradient, 1e-7)) == pytest.approx(2, rel=1e-4)


def test_columns_have_length_m_on_average() -> None:
    target = linear_target(20, 5000, 4, 0)
    assert float(target.lengths.mean()) == pytest.approx(20, rel=0.03)
    assert set(target.W.unique().tolist()) == {-(5**0.5), 0.0, 5**0.5}
    assert float(target.a.norm()) == pytest.approx(1)


SMALL = ["experiment=nne_linear", "learner.inputs=6", "learner.nonzeros=2", "learner.genes=5000"]


def test_the_command_learns_the_target_and_never_violates_theorem_1(train: Command, tmp_path: Path) -> None:
    done = train(*SMALL, "run_dir=run", "trainer.max_steps=1000", "learner.stop_at_cosine=0.99")
    assert done.returncode == 0, done.stderr
    result = summary(tmp_path / "run")
    assert result["cosine"] >= 0.99
    assert result["violations_of_theorem_1"] == 0
    assert result["dataset"] == "none"
    assert f"cosine {result['cosine']:.4f}" in done.stdout
    assert "0 training" not in done.stdout
    assert (tmp_path / "run" / "figures" / "weights.png").exists()


def test_a_finite_population_learns_too_and_resumes_bit_for_bit(train: Command, tmp_path: Path) -> None:
    command = [*SMALL[:-1], "learner.genes=300", "learner.population=2000"]
    for folder in ("whole", "halves"):
        steps = 120 if folder == "whole" else 40
        done = train(*command, f"run_dir={folder}", f"trainer.max_steps={steps}")
        assert done.returncode == 0, done.stderr
    done = train("resume=halves", "trainer.max_steps=120")
    assert done.returncode == 0, done.stderr
    whole, halves = (without_times(summary(tmp_path / folder)) for folder in ("whole", "halves"))
    assert halves == whole
    assert whole["cosine"] > 0.5
    rows = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 121


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=mnist"], "learner=linear has its own task and network; choose data=none"),
        (["network=sparse"], "learner=linear has its own task and network; choose network=none"),
        (["learner.nonzeros=51"], "learner.nonzeros must be from 1 to learner.inputs=50, got 51"),
        (["learner.genes=0"], "learner.genes must be at least 1, got 0"),
        (["learner.inputs=1"], "learner.inputs must be at least 2, got 1"),
        (["learner.genes=1000000000"], "learner.genes=1000000000 need"),
        (["data.per_class=3"], "data.per_class=3: this experiment has no data; choose one, as in data=auto"),
    ],
)
def test_what_does_not_fit_is_one_line(train: Command, tmp_path: Path, overrides: list[str], message: str) -> None:
    done = train("experiment=nne_linear", *overrides)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_part_that_an_experiment_uses_cannot_be_left_out(train: Command) -> None:
    done = train("experiment=sgd_mnist10", "data=none")
    assert done.returncode == 2
    assert done.stderr == "error: data=none: experiment=sgd_mnist10 sets keys of data, so it cannot go without\n"


def test_a_learner_of_images_needs_some(small: Config) -> None:
    with pytest.raises(UserError, match="learner=evolution learns images; choose data=auto"):
        replace(small, data=None)


def test_the_record_has_no_data(train: Command, tmp_path: Path) -> None:
    assert train(*SMALL[:-1], "learner.genes=50", "trainer.max_steps=3", "run_dir=run").returncode == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["config"]["data"] is None
