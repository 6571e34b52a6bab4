"""Random graphs whose classes have genes of their own, each selected by its class's share of the loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nne.learners.network import NetworkEvolution
from nne.population.weights import apart_by_class
from nne.registry import build, composed
from nne.training import data, device
from nne.training.baselines.gradient import GradientDescent
from nne.training.data.datasets import Dataset
from nne.training.errors import UserError
from nne.training.io.checkpoint import state_sha256

APART = (
    *("experiment=nne_mnist10", "data=embedded", "network.hidden=30", "data.per_class=50", "device=cpu"),
    *("learner.genes=1500", "learner.class_genes=60", "learner.credit=class", "learner.population=200"),
    *("learner.test_individuals=20", "learner.epsilon_final=null"),
)


def made(*overrides: str) -> tuple[NetworkEvolution, Dataset]:
    config = composed(*APART, *overrides)
    images = data.load(config.images, config.seed)
    return NetworkEvolution(config, images, device.choose("cpu", "auto")), images


@given(
    st.integers(1, 20), st.integers(1, 9), st.integers(2, 5), st.integers(1, 9), st.integers(1, 6), st.floats(0.05, 1)
)
def test_a_class_s_genes_act_on_its_output_weights_alone(
    edges: int, units: int, classes: int, hidden: int, each: int, beta: float
) -> None:
    dense = apart_by_class(edges, units * classes, classes, hidden, each, beta, 1, "identity").dense()
    assert dense.shape == (edges + units * classes, hidden + classes * each)
    assert not bool(dense[:edges, hidden:].any())
    assert not bool(dense[edges:, :hidden].any())
    outputs = dense[edges:, hidden:].view(units, classes, classes, each)
    others = ~torch.eye(classes, dtype=torch.bool)[None, :, :, None]
    assert not bool((outputs * others).any())


def test_an_output_weight_is_touched_by_as_many_genes_as_an_edge() -> None:
    W = apart_by_class(20_000, 20_000, 10, 4000, 500, 0.0025, 0, "tanh")
    below, above = W.offsets.diff().double().split(20_000)
    assert float(below.mean()) == pytest.approx(10, abs=0.1)
    assert float(above.mean()) == pytest.approx(10, abs=0.1)
    assert float(W.g(torch.tensor([20.0]))) == 1
    first_of_each = torch.stack([W.values[start : start + 10_000] for start in (0, int(W.offsets[20_000]))])
    assert abs(float(torch.corrcoef(first_of_each)[0, 1])) < 0.05


def test_it_learns_and_goes_on_where_it_was_bit_for_bit() -> None:
    whole, images = made()
    before = whole.performance(images.test_images, images.test_labels, 20).mean
    half, _ = made()
    for _ in range(3):
        half.step()
    resumed, _ = made()
    resumed.load_state_dict(half.state_dict())
    for step in range(40):
        whole.step()
        if step >= 3:
            resumed.step()
    assert state_sha256(whole.state_dict()) == state_sha256(resumed.state_dict())
    assert whole.performance(images.test_images, images.test_labels, 20).mean > before + 0.2


def test_a_hidden_layer_that_is_frozen_stays_as_it_was_drawn() -> None:
    learner, _ = made("network.frozen=true")
    before = learner.evolution.p.clone()
    for _ in range(5):
        learner.step()
    assert sorted(set(before[:900].tolist())) == [0, 1]
    assert torch.equal(learner.evolution.p[:900], before[:900])
    assert bool((learner.evolution.p != before)[900:].all())


def test_alleles_that_are_frozen_from_the_start_do_not_count_as_fixed() -> None:
    learner, _ = made("network.frozen=true", "learner.stop_at_fixed=0.3", "learner.p0=0.1")
    assert learner.reason_to_stop() is None  # 60 % of all are
    metrics = learner.step()
    assert metrics["population/fixed"] >= 0.6
    assert learner.reason_to_stop() is None


def test_gradients_leave_it_alone_too() -> None:
    config = composed("experiment=sgd_mnist10", "network.hidden=30", "network.frozen=true", "data=embedded")
    images = data.load(config.images, config.seed)
    learner = build(config, images, device.choose("cpu", "auto"))
    assert isinstance(learner, GradientDescent)
    outputs, hidden = (w.detach().clone() for w in learner.network.parameters())
    learner.step()
    assert [torch.equal(*pair) for pair in zip(learner.network.parameters(), (outputs, hidden), strict=True)] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("experiment=nne_mnist10",), r"network\.frozen=true needs genes that act on hidden layers alone"),
        (("experiment=fa_mnist10",), r"learner=feedback has learner\.rule for that: set network\.frozen=false"),
        (
            ("experiment=nne_signsgd_mnist10",),
            r"learner=finetune never trains hidden layers: set network",
        ),
        (("experiment=nne_cnn",), r"network\.frozen=true knows no hidden layers of network\.module="),
    ],
)
def test_who_cannot_freeze_hidden_layers_says_so(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed(*overrides, "network.frozen=true")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("learner.class_genes=null",),
            r"learner\.credit=class needs the genes of network\.filters or learner\.class_genes",
        ),
        (("learner.credit=module",), r"learner\.credit=module needs the genes of network\.filters"),
        (("learner.genes=600",), r"learner\.genes must be at least 601 with learner\.class_genes=60 for each"),
        (("learner.class_genes=0",), r"learner\.class_genes must be at least 1, got 0"),
        (
            ("network.filters=2", "network.hidden=1000"),
            r"learner\.class_genes=60 is for a random graph: set learner\.class_genes=null",
        ),
    ],
)
def test_what_cannot_be_is_one_line(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(*overrides)


def test_what_depends_on_the_classes_of_your_own_data_is_checked_once_they_are_known(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", images=stream.random((60, 64)), labels=np.arange(60) % 3)
    own = "data=arrays", f"data.path={tmp_path / 'own.npz'}", "learner.batch=10"
    learner, _ = made(*own, "learner.genes=300", "data.per_class=null")
    assert learner.population.classes == 3
    with pytest.raises(UserError, match=r"at least 181 with learner\.class_genes=60 for each of 3 classes, got 180"):
        made(*own, "learner.genes=180", "data.per_class=null")
    with pytest.raises(UserError, match=r"x learner\.batch must be at most 48, the training images, got 100"):
        made(*own, "learner.genes=300", "data.per_class=null", "learner.groups=10")


def test_nobody_is_forgotten_where_fewer_must_be_evaluated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed(*APART, "backend=torch")
    digits = data.load(config.images, config.seed)
    learner = NetworkEvolution(config, digits, device.choose("cpu", "float32"))
    images, labels = learner.environment.minibatch(0)
    expected = learner.environment.rewards(images, labels)
    within, room = learner.population.logits, learner.population.tiling.genotypes // 2

    def scarce(x: torch.Tensor, seen: Any) -> torch.Tensor:
        if len(x) > room:
            raise torch.OutOfMemoryError("no room")
        return within(x, seen)

    monkeypatch.setattr(learner.population, "logits", scarce)
    torch.testing.assert_close(learner.environment.rewards(images, labels), expected)
    assert learner.population.tiling.genotypes == room
