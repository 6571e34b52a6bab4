"""The dual equals the primal equals a loop written from the formula; the learner on real digits."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dnn.activity import ActivityStats
from dnn.config import RULES as NAMES
from dnn.config import DopamineConfig
from dnn.gram import Across, Cross, Gram
from dnn.network import Dopamine
from dnn.output_weights import Dual, Primal, Respond
from dnn.rules import RULES, Outcome
from nne.training.config import Config, TrainerConfig
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.parts import FeaturesConfig
from tests.conftest import CPU


def gram_of(h: Tensor, w: Tensor, binary: bool) -> Gram:
    psi = (h > 0).to(h.dtype) if binary else h
    activity = ActivityStats(h[:, 0], h[0], h[:1, :1])
    across = Across(lambda images: Cross(images @ psi.T, images @ w))  # given as h, not as pixels
    return Gram(h @ psi.T, h @ w, psi @ psi.T, psi @ w, w.square().sum(dim=0), activity, across)


def loop(h: Tensor, w: Tensor, order: Tensor, batch: int, binary: bool, respond: Respond) -> Tensor:
    """One epoch, weight by weight: ``w_ij += psi_i u_j``, summed over a batch."""
    w = w.clone()
    for start in range(0, len(order), batch):
        shown = order[start : start + batch]
        u = respond(h[shown] @ w, slice(start, start + batch))
        for s, u_s in zip(shown, u, strict=True):
            for i in range(len(w)):
                for j in range(w.shape[1]):
                    psi = float(h[s, i] > 0) if binary else h[s, i]
                    w[i, j] += psi * u_s[j]
    return w


def responder(rule: str, targets: Tensor, draws: Tensor, epsilon_1: float) -> Callable[[Tensor], Respond]:
    def of(order: Tensor) -> Respond:
        def respond(logits: Tensor, which: slice) -> Tensor:
            shown = order[which]
            outcome = Outcome(logits.softmax(dim=1), targets[shown], draws[shown], 0.75)
            return RULES[rule](outcome).to(logits.dtype) * epsilon_1

        return respond

    return of


@settings(max_examples=120)
@given(
    rule=st.sampled_from(NAMES),
    binary=st.booleans(),
    images=st.integers(1, 130),
    width=st.integers(1, 6),
    classes=st.integers(2, 5),
    batch=st.sampled_from([1, 1, 2, 7, 60]),
    epsilon_1=st.sampled_from([0.01, 0.3, 1.0, 5.0]),
    seed=st.integers(0, 10**6),
)
def test_dual_equals_a_loop_over_images_links_and_outputs(
    rule: str, binary: bool, images: int, width: int, classes: int, batch: int, epsilon_1: float, seed: int
) -> None:
    stream = torch.Generator().manual_seed(seed)
    h = torch.randn(images, width, generator=stream, dtype=torch.float64).relu()
    h_test = torch.randn(9, width, generator=stream, dtype=torch.float64).relu()
    w = torch.randn(width, classes, generator=stream, dtype=torch.float64)
    labels = torch.randint(classes, (images,), generator=stream)
    targets = torch.nn.functional.one_hot(labels, classes).double()
    draws = torch.rand(images, 1, generator=stream, dtype=torch.float64)
    dual = Dual(gram_of(h, w, binary), torch.float64)
    of = responder(rule, targets, draws, epsilon_1)
    for _ in range(2):
        order = torch.randperm(images, generator=stream)
        dual.learn(order, batch, of(order))
        w = loop(h, w, order, batch, binary, of(order))
    torch.testing.assert_close(dual.logits(h_test, average=False), h_test @ w, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(dual.norms(), w.norm(dim=0), rtol=1e-6, atol=1e-6)


def problem(width: int = 60, epochs: int = 6, cap: int | None = None, **learner: object) -> Config:
    return Config(
        features=FeaturesConfig(width=width, cap=cap),
        learner=DopamineConfig(**learner),  # type: ignore[arg-type]
        trainer=TrainerConfig(max_steps=epochs),
    )


@pytest.mark.parametrize("presynaptic", ["graded", "binary"])
@pytest.mark.parametrize("cap", [None, 1, 30])
@pytest.mark.parametrize("rule", ["introduction", "reward_prediction_drawn"])
def test_the_learner_in_the_dual_equals_itself_in_the_primal(
    digits: Dataset, fp32: Compute, presynaptic: str, cap: int | None, rule: str
) -> None:
    # A small step: at a large one, rounding decides who wins, and both are right.
    config = problem(rule=rule, presynaptic=presynaptic, cap=cap, epsilon_1=0.01, average=True)
    dual = Dopamine(config, digits, fp32)
    primal = Dopamine(replace(config, learner=replace(config.learner, path="primal")), digits, fp32)
    assert isinstance(primal.synapses, Primal)
    for _ in range(6):
        metrics, other = dual.step(), primal.step()
        assert metrics == pytest.approx(other, rel=1e-3, abs=1e-4)
    for average in (False, True):
        a, b = (learner.synapses.logits(digits.test_images, average) for learner in (dual, primal))
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


def test_rounds_end_even_where_numbers_overflow() -> None:
    h = torch.full((60, 3), 1e20)
    dual = Dual(gram_of(h, torch.zeros(3, 2), binary=False))
    dual.learn(torch.arange(60), 1, lambda logits, which: logits + 1e30)
    assert not dual.a.isfinite().all()


def test_dopamine_learns_digits_and_literal_readings_do_not(digits: Dataset, fp32: Compute) -> None:
    def accuracy(rule: str, epsilon_1: float) -> float:
        config = problem(width=400, epochs=20, rule=rule, epsilon_1=epsilon_1, average=True)
        learner = Dopamine(config, digits, fp32)
        for _ in range(20):
            learner.step()
        return learner.summary(digits.test_images, digits.test_labels)["test_accuracy"]

    assert accuracy("reward_prediction_drawn", 0.3) > 0.72
    assert accuracy("introduction", 1.0) > 0.6
    assert accuracy("literal", 1.0) < 0.1
    assert accuracy("text", 1.0) < 0.2


def test_the_average_is_that_of_the_second_half(digits: Dataset, fp32: Compute) -> None:
    learner = Dopamine(problem(epochs=4, rule="delta", epsilon_1=0.01, average=True), digits, fp32)
    assert isinstance(learner.synapses, Dual)
    kept = []
    for _ in range(4):
        learner.step()
        kept.append(learner.synapses.a.clone())
    mean = (kept[2] + kept[3]) / 2
    K, base = learner.synapses.across(digits.test_images)
    expected = base + K @ mean
    torch.testing.assert_close(learner.synapses.logits(digits.test_images, True), expected)


def test_linear_decay_ends_at_zero(digits: Dataset, fp32: Compute) -> None:
    learner = Dopamine(problem(epochs=4, decay="linear"), digits, fp32)
    rates = []
    for _ in range(5):
        rates.append(learner.epsilon_1)
        learner.epoch += 1
    assert rates == [1, 0.75, 0.5, 0.25, 0]


@pytest.mark.parametrize("path", ["dual", "primal"])
def test_a_restored_learner_goes_on_with_the_same_bits(digits: Dataset, fp32: Compute, path: str) -> None:
    config = problem(rule="reward_prediction_drawn", path=path, average=True)
    one, other = Dopamine(config, digits, fp32), Dopamine(config, digits, fp32)
    for _ in range(4):
        one.step()
    other.load_state_dict({name: tensor.clone() for name, tensor in one.state_dict().items()})
    for _ in range(2):
        assert one.step() == other.step()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_a_learner_that_has_settled_says_so(digits: Dataset, fp32: Compute) -> None:
    learner = Dopamine(problem(width=2000, epochs=500, rule="gated"), digits, fp32)
    while not (reason := learner.reason_to_stop()):
        learner.step()
        assert learner.epoch < 300
    assert reason == f"no link was changed in epoch {learner.epoch}"
    assert learner.histograms().keys() == {"features/firing"}


def test_pictures_and_metrics(digits: Dataset, fp32: Compute) -> None:
    learner = Dopamine(problem(width=2000, cap=20), digits, fp32)
    metrics = learner.step()
    assert 0 < metrics["links/rewarded"] + metrics["links/punished"] <= 20 / 2000 / 10
    assert learner.summary(digits.test_images, digits.test_labels)["firing"] <= 20 / 2000
    names = [name for name, _ in learner.figures(digits.test_images, digits.test_labels)]
    assert names == ["confusion", "overlap"]
    assert learner.device == CPU
