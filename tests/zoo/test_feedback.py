"""Every way down for the error: backpropagation against autograd, the others by what defines each."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from nne.registry import build, composed
from nne.training import data
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.zoo.config import FEEDBACKS
from nne.zoo.feedback import PATHWAYS, Feedback

SMALL = ["data=embedded", "data.per_class=20", "network.edge_probability=0.3", "trainer.max_steps=10"]


def made(rule: str, *overrides: str) -> tuple[Feedback, Dataset]:
    config = composed("experiment=fa_mnist10", f"learner.rule={rule}", *SMALL, "network.hidden=[30,20]", *overrides)
    digits = data.load(config.images, config.seed)
    learner = build(config, digits, Compute(torch.device("cpu"), torch.float32))
    assert isinstance(learner, Feedback)
    return learner, digits


def changes(learner: Feedback, images: Tensor, labels: Tensor) -> list[Tensor]:
    return learner.changes(images, labels, 0)[0]


def test_every_rule_of_the_configuration_is_there() -> None:
    assert list(PATHWAYS) == FEEDBACKS


def test_backpropagation_is_the_gradient() -> None:
    learner, digits = made("backprop")
    images, labels = digits.train_images[:40].double(), digits.train_labels[:40]
    learner.weights = [w.double().requires_grad_() for w in learner.weights]
    cross_entropy(learner.logits(images), labels).backward()
    with torch.no_grad():
        ours = changes(learner, images, labels)
    for change, w, there in zip(ours, learner.weights, learner.present, strict=True):
        assert w.grad is not None
        torch.testing.assert_close(change * there, w.grad * there)


@pytest.mark.parametrize("rule", FEEDBACKS)
def test_every_rule_learns_on_the_links_that_exist_and_only_frozen_leaves_hidden_layers(rule: str) -> None:
    rate, hidden = (0.1, "100") if rule == "drtp" else (0.3, "[100,50]")  # which is fragile under more layers
    learner, digits = made(rule, f"network.hidden={hidden}", f"learner.learning_rate={rate}", "learner.batch=10")
    before = [w.clone() for w in learner.weights]
    for _ in range(10):
        learner.step()
    assert learner.evaluate(digits.test_images, digits.test_labels)["test/accuracy"] > 0.4
    for w, there in zip(learner.weights, learner.present, strict=True):
        assert float((w * (1 - there)).abs().max()) == 0
    moved = [not torch.equal(w, old) for w, old in zip(learner.weights, before, strict=True)]
    assert moved == [rule != "frozen"] * (len(moved) - 1) + [True]


def test_with_one_hidden_layer_direct_feedback_is_feedback_alignment() -> None:
    (fa, digits), (dfa, _) = (made(rule, "network.hidden=30") for rule in ("fa", "dfa"))
    dfa.memory = fa.memory
    for ours, theirs in zip(
        *(changes(each, digits.train_images, digits.train_labels) for each in (fa, dfa)), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_kolen_and_pollack_s_matrices_become_alike_as_they_decay() -> None:
    learner, digits = made("kp", "learner.feedback_rate=0.01")
    apart = [w - B for w, B in zip(learner.weights[1:], learner.memory.values(), strict=True)]
    for _ in range(50):
        learner.learn(digits.train_images[:50], digits.train_labels[:50])
    for w, B, start, there in zip(
        learner.weights[1:], learner.memory.values(), apart, learner.present[1:], strict=True
    ):
        torch.testing.assert_close((w - B) * there, 0.99**50 * start * there, rtol=1e-4, atol=1e-5)


def test_a_mirror_comes_to_show_the_weights() -> None:
    learner, _ = made("mirror", "learner.feedback_rate=0.05", "learner.batch=200")
    none = [torch.zeros_like(w) for w in learner.weights]

    def alike() -> list[float]:
        pairs = zip(learner.weights[1:], learner.memory.values(), strict=True)
        return [float(cosine_similarity(w.flatten(), B.flatten(), dim=0)) for w, B in pairs]

    assert max(alike()) < 0.3
    for step in range(200):
        learner.adapt(none, step)
    assert min(alike()) > 0.9


def test_signs_alone_come_down() -> None:
    learner, digits = made("sign")
    images, labels = digits.train_images[:50], digits.train_labels[:50]
    first = changes(learner, images, labels)[0]
    learner.weights[2] = learner.weights[2].sign() * learner.weights[2].abs().mean()  # as the error sees them
    *h, logits = learner.forward(images)  # now backpropagation
    down = logits.softmax(dim=1) - learner.label(labels)
    for w, active in zip(reversed(learner.weights[1:]), reversed(h), strict=True):
        down = (down @ (w.sign() * w[w != 0].abs().mean())) * (active > 0)
    torch.testing.assert_close(changes(learner, images, labels)[0], down.T @ images / len(images))
    assert first.shape == down.T.shape[:1] + images.shape[1:]


def test_alignment_is_one_for_backpropagation_and_grows_for_random_feedback() -> None:
    for rule, least in (("backprop", 0.999), ("kp", 0.3), ("fa", 0.1)):
        learner, _ = made(rule, "learner.learning_rate=0.3", "learner.batch=10", "learner.feedback_rate=0.02")
        cosines = [learner.step()["alignment/cosine"] for _ in range(10)]
        assert max(cosines) > least
    learner, _ = made("frozen")
    assert learner.step()["alignment/cosine"] == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["learner.rule=fb"], "learner.rule must be one of frozen, backprop"),
        (["network.cap=5"], "learner=feedback needs layers it knows: leave out network.module, network.cap"),
        (["learner.feedback_rate=2"], "learner.feedback_rate must be greater than 0 and at most 1"),
    ],
)
def test_a_mistake_is_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed("experiment=fa_mnist10", *overrides)
