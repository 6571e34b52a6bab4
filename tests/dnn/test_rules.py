"""Each rule against a scalar loop written from its formula; Lemma 2 and Eq. (5) against autograd."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dnn.config import RULES as NAMES
from dnn.rules import RULES, Outcome
from nne.training.baselines.signsgd import SignSGD

Scalar = Callable[[int, list[float], int, float, float], float]
"""u_j from j, z, the label, the draw and epsilon_0."""


def q(j: int, z: list[float], label: int) -> float:
    return 0.25 - (z[j] - (1.0 if j == label else 0.0)) ** 2


def loss(z: list[float], label: int) -> float:
    return -math.log(z[label])


def winner(z: list[float]) -> int:
    return z.index(max(z))


def drawn(z: list[float], draw: float) -> int:
    total = 0.0
    for j, share in enumerate(z):
        total += share
        if draw < total:
            return j
    return len(z) - 1


def right(j: int, label: int) -> float:
    return 1.0 if j == label else 0.0


def example(z: list[float], label: int) -> float:
    return 0.25 - (1 - z[label]) ** 2


LOOPS: dict[str, Scalar] = {
    "literal": lambda j, z, y, d, e0: 1.0 if q(j, z, y) > 0 and loss(z, y) > e0 else 0.0,
    "text": lambda j, z, y, d, e0: 1.0 if q(j, z, y) >= 0 and loss(z, y) <= e0 else 0.0,
    "introduction": lambda j, z, y, d, e0: q(j, z, y) if j == winner(z) else 0.0,
    "introduction_graded": lambda j, z, y, d, e0: z[j] * q(j, z, y),
    "introduction_drawn": lambda j, z, y, d, e0: q(j, z, y) if j == drawn(z, d) else 0.0,
    "introduction_broadcast": lambda j, z, y, d, e0: example(z, y) if j == winner(z) else 0.0,
    "gated": lambda j, z, y, d, e0: q(j, z, y) if j == winner(z) and loss(z, y) > e0 else 0.0,
    "gated_graded": lambda j, z, y, d, e0: z[j] * q(j, z, y) if loss(z, y) > e0 else 0.0,
    "gated_drawn": lambda j, z, y, d, e0: q(j, z, y) if j == drawn(z, d) and loss(z, y) > e0 else 0.0,
    "gated_broadcast": lambda j, z, y, d, e0: example(z, y) if j == winner(z) and loss(z, y) > e0 else 0.0,
    "reward_prediction": lambda j, z, y, d, e0: right(j, y) - z[j] if j == winner(z) else 0.0,
    "reward_prediction_drawn": lambda j, z, y, d, e0: right(j, y) - z[j] if j == drawn(z, d) else 0.0,
    "demonstration": lambda j, z, y, d, e0: right(j, y) - z[j] if j in (winner(z), y) else 0.0,
    "delta": lambda j, z, y, d, e0: right(j, y) - z[j],
}


def outcomes(images: int, classes: int, spread: float, seed: int) -> tuple[Outcome, Tensor]:
    """Random answers, from hesitant to sure, and their labels."""
    stream = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=stream, dtype=torch.float64) * spread
    labels = torch.randint(classes, (images,), generator=stream)
    draw = torch.rand(images, 1, generator=stream, dtype=torch.float64)
    target = torch.nn.functional.one_hot(labels, classes).double()
    return Outcome(logits.softmax(dim=1), target, draw, 0.75), labels


def test_every_rule_has_a_loop_and_a_name_in_the_configuration() -> None:
    assert list(RULES) == NAMES == list(LOOPS)
    assert all(rule.__doc__ and "u_j =" in rule.__doc__ for rule in RULES.values())


@pytest.mark.parametrize("rule", NAMES)
@given(st.integers(1, 12), st.integers(2, 10), st.floats(0.1, 8), st.integers(0, 10**6))
def test_each_rule_equals_a_scalar_loop(rule: str, images: int, classes: int, spread: float, seed: int) -> None:
    outcome, labels = outcomes(images, classes, spread, seed)
    expected = torch.tensor(
        [
            [LOOPS[rule](j, z, int(y), float(d), 0.75) for j in range(classes)]
            for z, y, d in zip(outcome.z.tolist(), labels, outcome.draw, strict=True)
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(RULES[rule](outcome).double(), expected, rtol=1e-12, atol=1e-12)


def test_a_saturated_answer_has_a_finite_loss_and_is_punished() -> None:
    z, label = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    outcome = Outcome(z, label, torch.zeros(1, 1), 0.75)
    assert outcome.loss().isfinite().all()
    assert RULES["gated"](outcome).tolist() == [[-0.75, 0.0]]


def test_the_first_of_equal_outputs_wins() -> None:
    outcome = Outcome(torch.full((1, 4), 0.25), torch.eye(4)[:1], torch.zeros(1, 1), 0.75)
    assert outcome.winner().tolist() == [[1, 0, 0, 0]]


def test_a_neuron_is_drawn_as_often_as_its_output_says() -> None:
    z = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).expand(100_000, 4)
    draw = torch.rand(100_000, 1, generator=torch.Generator().manual_seed(0))
    shares = Outcome(z, z, draw, 0.75).drawn().mean(dim=0)
    torch.testing.assert_close(shares, z[0], rtol=0, atol=0.01)
    assert shares[1] == 0


@given(st.integers(1, 8), st.integers(1, 12), st.integers(2, 10), st.integers(0, 10**6))
def test_lemma_2(images: int, width: int, classes: int, seed: int) -> None:
    """``dL / dw_ij = (z_j - l_j) h_i``, to float64 accuracy; summed over images."""
    outcome, labels = outcomes(images, classes, 1.0, seed)
    stream = torch.Generator().manual_seed(seed + 1)
    h = torch.rand(images, width, generator=stream, dtype=torch.float64)
    w = torch.randn(width, classes, generator=stream, dtype=torch.float64, requires_grad=True)
    logits = h @ w
    torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
    lemma = h.T @ (logits.softmax(dim=1) - outcome.label)
    assert w.grad is not None
    torch.testing.assert_close(w.grad, lemma.detach(), rtol=1e-10, atol=1e-12)
    delta = RULES["delta"](Outcome(logits.softmax(dim=1).detach(), outcome.label, outcome.draw, 0.75))
    torch.testing.assert_close(h.T @ delta, -w.grad, rtol=1e-10, atol=1e-12)


@given(st.integers(1, 12), st.integers(2, 10), st.integers(0, 10**6))
def test_signsgd_is_equation_5(width: int, classes: int, seed: int) -> None:
    stream = torch.Generator().manual_seed(seed)
    h = torch.rand(width, generator=stream, dtype=torch.float64) * (torch.rand(width, generator=stream) < 0.7)
    w = torch.nn.Parameter(torch.randn(width, classes, generator=stream, dtype=torch.float64))
    label = torch.randint(classes, (1,), generator=stream)
    z = (h @ w).softmax(dim=0).detach()
    expected = w.detach().clone()
    for i in range(width):
        for j in range(classes):
            gradient = (z[j] - (1.0 if j == label else 0.0)) * h[i]
            expected[i, j] -= 0.01 * torch.sign(gradient)
    optimiser = SignSGD([w], lr=0.01)
    torch.nn.functional.cross_entropy((h @ w)[None], label).backward()
    optimiser.step()
    torch.testing.assert_close(w.detach(), expected, rtol=0, atol=1e-15)
