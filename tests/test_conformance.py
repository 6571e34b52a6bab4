"""What every learner must do, whichever it is: those of the registry, and any that a plug-in adds."""

import math

import pytest
import torch
from torch import Tensor

from nne.registry import LEARNERS, build, composed
from nne.training import data, device
from nne.training.data import Dataset
from nne.training.errors import UserError
from nne.training.learner import Learner
from nne.training.plugin import is_path

DIGITS = ["data=embedded", "data.per_class=20", "trainer.max_steps=10"]
SPARSE = ["network.hidden=40", "network.beta=0.02"]
EVOLVING = ["learner.genes=300", "learner.population=70", "learner.test_individuals=10", "learner.batch=50"]
CASES = {
    "evolution": ["experiment=nne_mnist10", *DIGITS, *SPARSE, *EVOLVING, "backend=torch"],
    "evolution, deeper": [
        *["experiment=nne_mnist10", *DIGITS, *EVOLVING, "backend=torch", "dtype=float32", "network.beta=0.02"],
        *["network.hidden=[30,20]", "network.edge_probability=[0.2,0.3]", "network.cap=10", "learner.freeze=0.02"],
    ],
    "evolution, module": ["experiment=nne_cnn", *DIGITS, *EVOLVING, "dtype=float32"],
    "linear": ["experiment=nne_linear", "learner.genes=200", "learner.population=50", "trainer.max_steps=10"],
    "dopamine": ["experiment=dnn_h1000", *DIGITS, "features.width=100"],
    "dopamine, binary": ["experiment=dnn_h1000", *DIGITS, "features.width=100", "learner.presynaptic=binary"],
    "dopamine, primal": [
        "experiment=dnn_kcap",
        *DIGITS,
        "features.width=300",
        "features.cap=20",
        "learner.path=primal",
    ],
    "dopamine, infinite": ["experiment=dnn_infinite", *DIGITS],
    "feedback": ["experiment=fa_mnist10", *DIGITS, "network.hidden=[30,20]"],
    "perturbation": ["experiment=np_mnist10", *DIGITS, "network.hidden=40", "learner.decorrelation_rate=0.001"],
    "perturbation, rank one": ["experiment=rank1_mnist10", *DIGITS, "network.hidden=40"],
    "pepita": ["experiment=pepita_mnist10", *DIGITS, "network.hidden=[30,20]"],
    "forward_forward": ["experiment=ff_mnist10", *DIGITS, "network.hidden=[30,20]"],
    "target_propagation": ["experiment=dtp_mnist10", *DIGITS, "network.hidden=[30,20]"],
    "equilibrium": ["experiment=ep_mnist10", *DIGITS, "network.hidden=[30,20]"],
    "predictive_coding": ["experiment=pc_mnist10", *DIGITS, "network.hidden=[30,20]"],
    "reward_stdp": ["experiment=rstdp_mnist10", *DIGITS, "learner.neurons=5"],
    "diehl_cook": ["experiment=spiking_mnist10", *DIGITS, "learner.neurons=20", "learner.milliseconds=40"],
    "feedback, mirror": ["experiment=mirror_mnist10", *DIGITS, "network.hidden=40"],
    "gradient": ["experiment=sgd_mnist10", *DIGITS, "network.hidden=40"],
    "gradient, competing": ["experiment=kh_mnist10", *DIGITS, "features.width=60", "features.epochs=3"],
    "dopamine, assemblies": [
        "experiment=dnn_reward_h1000",
        *DIGITS,
        "features.width=100",
        "features.rule=assemblies",
        "features.cap=20",
        "features.eta=0.01",
        "features.epochs=1",
    ],
    "gradient, features": ["experiment=adam_features_h1000", *DIGITS, "features.width=100"],
}


def made(case: str) -> tuple[Learner, Dataset]:
    """A learner as a run would make it."""
    config = composed(*CASES[case])
    compute = device.choose("cpu", config.precision)
    digits = data.load(config.data, config.seed)
    return build(config, digits, compute), digits


def copied(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}


def test_every_learner_of_the_registry_is_here() -> None:
    own = {name for name in LEARNERS if not is_path(name)}  # other tests may have added theirs
    assert {case.split(",")[0] for case in CASES} | {"finetune"} == own  # finetune: tests/learners/test_finetune.py


@pytest.mark.parametrize("case", CASES)
def test_a_clone_goes_on_bit_for_bit(case: str) -> None:
    learner, digits = made(case)
    for _ in range(3):
        learner.step()
    state = copied(learner)
    learner.evaluate(digits.test_images, digits.test_labels)  # and looking changes nothing
    expected = [learner.step() for _ in range(2)]
    clone, _ = made(case)
    clone.step()
    clone.load_state_dict(state)
    assert [clone.step() for _ in range(2)] == expected
    theirs, ours = copied(learner), copied(clone)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("case", CASES)
def test_evaluation_is_of_the_images_that_are_given(case: str) -> None:
    """Test images, some of them, training images, noise: each gives what the exported network gives."""
    learner, digits = made(case)
    for _ in range(5):
        learner.step()
    if not digits.classes:
        with pytest.raises(UserError, match="gives no network of its own"):
            learner.as_module()
        return
    noise = torch.rand(300, digits.test_images.shape[1], generator=torch.Generator().manual_seed(0))
    some = slice(0, 700, 7)
    given = {
        "test": (digits.test_images, digits.test_labels),
        "some": (digits.test_images[some], digits.test_labels[some]),
        "training": (digits.train_images, digits.train_labels),
        "a copy of training": (digits.train_images.clone(), digits.train_labels),
        "noise": (noise, torch.arange(300) % len(digits.classes)),
        "test again": (digits.test_images, digits.test_labels),
    }
    result = {name: learner.evaluate(*pair) for name, pair in given.items()}
    assert result["test"] == result["test again"]
    if case == "dopamine, infinite":  # which no network is
        assert abs(result["noise"]["test/accuracy"] - 0.1) < 0.1
        assert result["some"]["test/accuracy"] > 0.25
        assert result["training"]["test/accuracy"] == pytest.approx(
            result["a copy of training"]["test/accuracy"], abs=0.01
        )
        return
    if case == "diehl_cook":  # spikes in time are no module
        with pytest.raises(UserError, match="gives no network of its own"):
            learner.as_module()
        return
    network = learner.as_module()
    for name, (images, labels) in given.items():
        with torch.no_grad():
            right = float((network(images).argmax(dim=1) == labels).double().mean())
        assert result[name][learner.module_figure] == pytest.approx(right, abs=3 / len(labels)), name


@pytest.mark.parametrize("case", CASES)
def test_every_promised_figure_is_there(case: str) -> None:
    learner, digits = made(case)
    figures = learner.step() | learner.evaluate(digits.test_images, digits.test_labels)
    assert learner.headline in figures
    charted = {name for names in learner.charts.values() for name in names}
    assert charted <= figures.keys()
    assert all(math.isfinite(value) for value in figures.values())
    summary = learner.summary(digits.test_images, digits.test_labels)
    assert isinstance(summary[learner.result], float)
    assert all(isinstance(tensor, Tensor) for tensor in {**learner.histograms(), **learner.state_dict()}.values())
    if digits.classes:
        counts = learner.confusion(digits.test_images, digits.test_labels)
        assert float(counts.sum()) == pytest.approx(len(digits.test_labels))
    assert all(name and figure.axes for name, figure in learner.figures(digits.test_images, digits.test_labels))
