"""Every rule of the zoo against a loop over single numbers; and the limits in which rules meet the gradient."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from nne.registry import CLASSES, LEARNERS, build, composed
from nne.training import data
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.plugin import load
from nne.training.seeding import generator
from nne.zoo.config import LayersConfig
from nne.zoo.equilibrium import Equilibrium
from nne.zoo.feedback import PATHWAYS
from nne.zoo.forward_forward import ForwardForward
from nne.zoo.layers import Layers, Need, normal_like
from nne.zoo.perturbation import Perturbation
from nne.zoo.predictive_coding import PredictiveCoding
from nne.zoo.target_propagation import TargetPropagation
from tests.zoo import loops

PIXELS, IMAGES = 14, 4


def made(experiment: str, *overrides: str) -> tuple[Any, Dataset]:
    """A learner of a few pixels of real digits and three classes, in float64."""
    small = ["data=embedded", "data.per_class=2", "data.classes=[0,1,2]", "network.edge_probability=0.7"]
    config = composed(f"experiment={experiment}", *small, "network.hidden=[5,4]", *overrides)
    digits = data.load(config.images, config.seed)
    middle = slice(400, 400 + PIXELS)
    few = replace(
        digits,
        train_images=(digits.train_images[:, middle] + 0.1).double(),
        test_images=digits.test_images[:, middle].double(),
    )
    learner = build(config, few, Compute(torch.device("cpu"), torch.float32))
    assert isinstance(learner, Layers)
    learner.present = [there.double() for there in learner.present]
    stream = torch.Generator().manual_seed(0)  # weights with which most units fire, and none is at its most
    learner.weights = [(0.2 * torch.randn(p.shape, generator=stream) + 0.1) * p for p in learner.present]
    learner.memory = {name: tensor.double() for name, tensor in learner.memory.items()}
    return learner, few


def some(digits: Dataset) -> tuple[Tensor, Tensor]:
    """Images, and labels of all classes."""
    at = torch.tensor([0, 2, 4, 5])
    return digits.train_images[at], digits.train_labels[at]


def mean(changes: list[list[loops.Matrix]]) -> list[Tensor]:
    """Over images, layer by layer."""
    return [torch.tensor(of_layer, dtype=torch.float64).mean(dim=0) for of_layer in zip(*changes, strict=True)]


def noise(learner: Layers, name: str) -> list[list[list[float]]]:
    """What node perturbation draws, image by image and layer by layer."""
    drawn = [normal_like(w.new_empty(IMAGES, len(w)), 0, f"noise {name} {i}") for i, w in enumerate(learner.weights)]
    return [[layer[image].tolist() for layer in drawn] for image in range(IMAGES)]


def wrong_labels(learner: Layers, labels: Tensor, step: int) -> Tensor:
    other = torch.randint(1, 3, labels.shape, generator=generator(0, "wrong labels", step))
    return learner.label((labels + other) % 3)


def reference(case: str, learner: Any, images: Tensor, labels: Tensor) -> list[Tensor]:
    """The changes of step 3 by loops."""
    W = [w.tolist() for w in learner.weights]
    memory = [tensor.tolist() for tensor in learner.memory.values()]
    pairs = list(zip(images.tolist(), learner.label(labels).tolist(), strict=True))
    sign = 2 * int(torch.randint(2, (), generator=generator(0, "nudge", 3))) - 1
    signs = [[[(v > 0) - (v < 0) for v in row] for row in matrix] for matrix in W[1:]]
    scaled = [
        (torch.tensor(s, dtype=torch.float64) * w[w != 0].abs().mean()).tolist()
        for s, w in zip(signs, learner.weights[1:], strict=True)
    ]
    one: dict[str, Callable[[int, list[float], list[float]], list[loops.Matrix]]] = {
        "backprop": lambda _, x, t: loops.layerwise(W, W[1:], x, t),
        "fa": lambda _, x, t: loops.layerwise(W, memory, x, t),
        "sign": lambda _, x, t: loops.layerwise(W, scaled, x, t),
        "dfa": lambda _, x, t: loops.direct(W, memory, x, t, target=False),
        "drtp": lambda _, x, t: loops.direct(W, memory, x, t, target=True),
        "pepita": lambda _, x, t: loops.pepita(W, memory[0], x, t),
        "ff": lambda k, x, t: loops.forward_forward(W, 1.0, x, t, wrong_labels(learner, labels, 3)[k].tolist()),
        "dtp": lambda _, x, t: loops.target_propagation(W, memory, 1.0, x, t),
        "ep": lambda _, x, t: loops.equilibrium(W, x, t, 0.5 * sign, 0.5, 20, 4),
        "pc": lambda _, x, t: loops.predictive_coding(W, x, t, 1.0, 0.1, 20),
        "np": lambda k, x, t: loops.node_perturbation(W, noise(learner, "3, 0")[k], 0.01, x, t),
    }
    return mean([one[case](k, x, t) for k, (x, t) in enumerate(pairs)])


@pytest.mark.parametrize("case", ["backprop", "fa", "sign", "dfa", "drtp", "pepita", "ff", "dtp", "ep", "pc", "np"])
def test_a_rule_is_what_its_equations_say(case: str) -> None:
    learner, digits = made(f"{case}_mnist10")
    images, labels = some(digits)
    expected = reference(case, learner, images, labels)
    result, _ = learner.changes(images, labels, 3)
    for ours, theirs in zip(result, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10)
    assert any(float(each.abs().max()) > 1e-4 for each in result[:-1])


@pytest.mark.parametrize("rule", ["node", "rank_one", "weight"])
def test_noise_finds_the_gradient_on_average(rule: str) -> None:
    """The mean over many noises, and not the gradient of some other loss."""
    learner, digits = made("np_mnist10", f"learner.rule={rule}", "learner.sigma=1e-4")
    assert isinstance(learner, Perturbation)
    images, labels = some(digits)
    total = [torch.zeros_like(w) for w in learner.weights]
    for step in range(3000):
        changes, _ = learner.changes(images, labels, step)
        for each, change in zip(total, changes, strict=True):
            each += change / 3000
    gradient = learner.gradient(images, labels)
    ours, theirs = (
        torch.cat([(each * there).flatten() for each, there in zip(of, learner.present, strict=True)])
        for of in (total, gradient)
    )
    assert float(cosine_similarity(ours, theirs, dim=0)) > 0.9
    assert float(ours @ theirs / theirs.square().sum()) == pytest.approx(1, abs=0.2)


def test_predictive_coding_meets_the_gradient_as_the_label_weighs_less() -> None:
    learner, digits = made("pc_mnist10", "learner.precision_of_label=1e-6", "learner.steps=200")
    assert isinstance(learner, PredictiveCoding)
    changes, _ = learner.changes(*some(digits), 0)
    for ours, theirs in zip(changes, learner.gradient(*some(digits)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_equilibrium_propagation_meets_the_gradient_as_the_nudge_weighs_less() -> None:
    steps = ["learner.beta=1e-6", "learner.free_steps=800", "learner.nudged_steps=800", "learner.step_size=0.2"]
    learner, digits = made("ep_mnist10", *steps)
    assert isinstance(learner, Equilibrium)
    changes, _ = learner.changes(*some(digits), 0)
    theirs = learner.gradient(*some(digits))
    assert float(theirs[0].abs().max()) > 1e-3
    for ours, other in zip(changes, theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-6)


def test_forward_forward_goes_down_the_loss_of_each_layer() -> None:
    learner, digits = made("ff_mnist10")
    assert isinstance(learner, ForwardForward)
    images, labels = some(digits)
    changes, _ = learner.changes(images, labels, 5)
    w = learner.weights[0].clone().requires_grad_()
    wrong = wrong_labels(learner, labels, 5)
    total = torch.zeros((), dtype=torch.float64)
    for sign, label in ((1, learner.label(labels)), (-1, wrong)):
        seen = torch.cat([label, images[:, 3:]], dim=1)
        h = (seen / (seen.square().mean(dim=1, keepdim=True).sqrt() + 1e-4) @ w.T).relu()
        total = total + torch.nn.functional.softplus(sign * (1 - h.square().mean(dim=1))).mean()
    (expected,) = torch.autograd.grad(total, w)
    torch.testing.assert_close(changes[0], expected)


def test_with_exact_inverses_targets_are_steps_of_gauss_and_newton(monkeypatch: pytest.MonkeyPatch) -> None:
    """``t_{i-1} - h_{i-1} = J_i^-1 (t_i - h_i)`` for small steps, where a layer can be undone."""
    learner, digits = made("dtp_mnist10", "network.hidden=[4,4]", "learner.target_rate=1e-5")
    assert isinstance(learner, TargetPropagation)
    learner.weights[1] = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    inverse = torch.linalg.inv(learner.weights[1])
    monkeypatch.setattr(learner, "inverse", lambda i, h: torch.atanh(h) @ inverse.T)
    images, labels = some(digits)
    *h, logits = learner.forward(images)
    e = logits.softmax(dim=1) - learner.label(labels)
    below, above = learner.targets(h, e)
    J = (1 - h[1] ** 2)[:, :, None] * learner.weights[1]
    expected = torch.linalg.solve(J, (above - h[1])[:, :, None])[:, :, 0]
    torch.testing.assert_close(below - h[0], expected, rtol=1e-3, atol=1e-10)


def test_inverses_learn_to_undo_their_layer() -> None:
    learner, digits = made("dtp_mnist10", "learner.inverse_rate=0.3", "learner.noise=0.1")
    images, labels = some(digits)

    def distance() -> float:
        h = learner.forward(images)
        return float((learner.inverse(1, h[1]) - h[0]).norm() / h[0].norm())

    before = distance()
    for step in range(300):
        learner.changes(images, labels, step)
    assert distance() < 0.5 * before


def test_decorrelated_inputs_are_less_correlated_and_part_of_the_exported_network() -> None:
    learner, digits = made("np_mnist10", "learner.decorrelation_rate=0.05")
    images, labels = digits.train_images, digits.train_labels

    def correlation() -> float:
        seen = learner.seen(0, images)
        C = seen.T @ seen / len(seen)
        return float((C - C.diag().diag()).square().sum() / C.diag().square().sum())

    before = correlation()
    for step in range(200):
        learner.changes(images, labels, step)
    assert correlation() < 0.3 * before
    torch.testing.assert_close(
        learner.as_module()(images.float()).double(), learner.logits(images), rtol=1e-4, atol=1e-4
    )


def test_what_a_rule_needs_is_said() -> None:
    kinds = {name: load("learner", path) for name, path in CLASSES.items() if issubclass(LEARNERS[name], LayersConfig)}
    needs = {name: kind.needs for name, kind in kinds.items() if name != "feedback"}
    needs |= {rule: pathway.needs for rule, pathway in PATHWAYS.items()}
    assert {name for name, of in needs.items() if Need.TRANSPORT in of} == {
        "backprop",
        "sign",
        "equilibrium",
        "predictive_coding",
        "target_propagation",
    }
    without = {"frozen", "drtp", "forward_forward", "perturbation"}
    assert {name for name, of in needs.items() if Need.ERROR not in of} == without


def test_weights_beyond_all_bounds_are_one_line() -> None:
    learner, _ = made("fa_mnist10", "learner.learning_rate=1e300")
    with pytest.raises(
        UserError, match=r"^weights have grown beyond all bounds in epoch \d: set learner.learning_rate"
    ):
        [learner.step() for _ in range(3)]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment=dtp_mnist10", "network.hidden=30"], "learner=target_propagation needs two hidden layers or more"),
        (
            ["experiment=wp_mnist10", "learner.decorrelation_rate=1"],
            "learner.decorrelation_rate is for learner.rule=node",
        ),
        (["experiment=ep_mnist10", "network.cap=5"], "learner=equilibrium needs layers it knows"),
        (["experiment=pc_mnist10", "features=random"], "learner=predictive_coding needs network alone"),
        (["experiment=ep_mnist10", "learner.step_size=2"], "learner.step_size must be greater than 0 and at most 1"),
        (["experiment=ff_mnist10", "learner.threshold=0"], "learner.threshold must be greater than 0"),
        (["experiment=kh_mnist10", "features.rule=hebb"], "features.rule must be one of random, competing, assemblies"),
        (["experiment=assemblies_mnist10", "features.cap=null"], "features.rule=assemblies needs a cap"),
        (["experiment=dnn_infinite", "features.rule=competing"], "features.width must be finite, got inf"),
    ],
)
def test_a_mistake_is_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed(*overrides)
