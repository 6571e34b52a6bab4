"""Networks of filters in the learner: resumed, exported, drawn, grouped, and what is refused."""

import csv
import json
from pathlib import Path

import pytest
import torch

from nne.learners.network import NetworkEvolution
from nne.registry import composed
from nne.training import data, device
from nne.training.data.datasets import Dataset
from nne.training.errors import UserError
from nne.training.io.checkpoint import state_sha256
from tests.conftest import Command, call

DEEP = (
    *("network.filters=[2,3]", "network.field=[7,2]", "network.places=[4,3]", "learner.filter_genes=[10,6]"),
    "learner.genes=206",
)
SMALL = (
    *("experiment=nne_filters_mnist10", "data=embedded", "network.filters=2", "network.places=4", "learner.genes=140"),
    *("learner.filter_genes=10", "learner.population=20", "learner.batch=30", "data.per_class=10"),
    *("learner.test_individuals=10", "device=cpu"),
)


def made(*overrides: str) -> tuple[NetworkEvolution, Dataset]:
    config = composed(*SMALL, *overrides)
    compute = device.choose(config.device, config.precision)
    images = data.load(config.images, config.seed)
    return NetworkEvolution(config, images, compute), images


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("backend=torch", "learner.mutation=0.01"),
        ("learner.credit=class",),
        ("learner.credit=total",),
        DEEP,
        (*DEEP, "learner.credit=class", "learner.freeze=0.02"),
        ("learner.freeze=0.2", "learner.epsilon=3", "learner.groups=2"),
        ("network.cap=9", "learner.expression=tanh"),
    ],
)
def test_it_goes_on_where_it_was_bit_for_bit(overrides: tuple[str, ...]) -> None:
    whole, _ = made(*overrides)
    half, _ = made(*overrides)
    for _ in range(3):
        whole.step()
        half.step()
    resumed, _ = made(*overrides)
    resumed.load_state_dict(half.state_dict())
    for _ in range(3):
        whole.step()
        resumed.step()
    assert state_sha256(whole.state_dict()) == state_sha256(resumed.state_dict())


def test_frozen_alleles_are_fixed_and_modules_go_on_without_them() -> None:
    learner, _ = made("learner.freeze=0.3", "learner.epsilon=1", "learner.epsilon_final=null")
    for _ in range(6):
        learner.step()
    p, free = learner.evolution.p, learner.evolution.free
    assert 0 < len(free) < 0.9 * len(p)
    fixed = torch.ones_like(p, dtype=torch.bool).index_fill(0, free, False)
    assert set(p[fixed].tolist()) <= {0.0, 1.0}
    resumed, _ = made("learner.freeze=0.3", "learner.epsilon=1", "learner.epsilon_final=null")
    resumed.load_state_dict(learner.state_dict())
    assert torch.equal(resumed.genotypes(range(20)), learner.genotypes(range(20)))
    x = learner.genotypes(range(20))
    assert torch.equal(x[:, fixed], p[fixed].bool().expand(20, -1))
    assert torch.equal(x, learner.evolution.ask())


@pytest.mark.parametrize("overrides", [(), DEEP, ("network.cap=9",), ("learner.expression=tanh",)])
def test_what_is_exported_answers_as_the_commonest_genotype(overrides: tuple[str, ...]) -> None:
    learner, images = made(*overrides)
    for _ in range(5):
        learner.step()
    performance = learner.performance(images.test_images, images.test_labels, 10)
    answers = learner.as_module()(images.test_images).argmax(dim=1)
    assert float((answers == images.test_labels).double().mean()) == pytest.approx(performance.modal, abs=0.002)


@pytest.mark.parametrize(("overrides", "genes"), [((), 20), (DEEP, 56)])
def test_frozen_filters_stay_as_they_were_drawn(overrides: tuple[str, ...], genes: int) -> None:
    learner, _ = made(*overrides, "network.frozen=true", "learner.population=200")
    before = learner.evolution.p.clone()
    for _ in range(5):
        learner.step()
    hidden = slice(0, genes)
    assert torch.equal(learner.evolution.p[hidden], before[hidden])
    assert sorted(set(before[hidden].tolist())) == [0, 1]
    assert bool((learner.evolution.p != before)[genes:].all())


@pytest.mark.parametrize(
    ("overrides", "picture"),
    [
        (("learner.filter_genes=1", "learner.genes=42"), "filters"),
        (("network.shared=false", "learner.filter_genes=1", "learner.genes=112"), "receptive_fields"),
        (DEEP, "filters"),
    ],
)
def test_what_became_of_filters_is_a_picture(overrides: tuple[str, ...], picture: str) -> None:
    learner, images = made(*overrides)
    learner.step()
    names = [name for name, _ in learner.figures(images.test_images, images.test_labels)]
    assert names == ["convergence", "trajectories", "confusion", picture]


@pytest.mark.parametrize("overrides", [("learner.genes=1040",), (*DEEP, "learner.genes=656")])
def test_it_learns(overrides: tuple[str, ...]) -> None:
    learner, images = made("learner.population=200", "data.per_class=50", *overrides)
    before = learner.performance(images.test_images, images.test_labels, 20).mean
    for _ in range(40):
        learner.step()
    assert learner.performance(images.test_images, images.test_labels, 20).mean > before + 0.1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("network.field=27",), "network.field=27 at network.places=4 does not fit into images of 28 x 28 pixels"),
        (("network.places=30",), "network.field=7 at network.places=30 does not fit"),
        (("network.places=500",), "network.field=7 at network.places=500 does not fit"),
        (("learner.genes=141",), "learner.genes must be 10 for each of 2 filters, and as many more"),
        (("network.shared=false",), "learner.genes must be 10 for each of 32 fields, and as many more"),
        (
            ("network.frozen=true", "learner.mutation=0.1"),
            "network.frozen=true keeps genes as they are: set learner.mutation=0",
        ),
        (("learner.genes=20",), "as in learner.genes=3020; got 20"),
        (("learner.genes=1999",), "as in learner.genes=2000; got 1999"),
        (("network.filters=null",), "network.places=4 means nothing without network.filters"),
        (("network.filters=null", "network.places=10"), "learner.credit=module needs the genes of network.filters"),
        (("learner.batch=null",), "keep all logits of a generation: set learner.batch=100"),
        (("learner.credit=mine",), "learner.credit must be one of total, class, module, got mine"),
        (
            ("learner.batch=1",),
            "learner.centre_logits centres over the images of a generation: set learner.batch",
        ),
        (
            ("learner.population=100000000",),
            "for learner.population=100000000 in learner.groups=1 on learner.batch=30 images; at most .* choose fewer",
        ),
        (
            ("learner.groups=3",),
            "learner.population must be a multiple of learner.groups=3, and at least twice as many, got 20",
        ),
        (
            ("learner.groups=4",),
            "learner.groups x learner.batch must be at most 100 .data.per_class x classes., got 120",
        ),
        (
            (*DEEP, "network.cap=5"),
            "learner.credit=module knows network.cap=5 of one layer: set network.cap=null",
        ),
        (("learner.selection=pbil",), "fitness by parts is not for selection=pbil"),
        (("learner.mutation=0.5",), "learner.mutation must be from 0 to below 0.5, got 0.5"),
        (("learner.p0=0.6",), "learner.p0 must be greater than 0 and at most 0.5, got 0.6"),
        (("data.jitter=-1",), "data.jitter must be at least 0, got -1"),
        (("network.hidden=50",), "are network.hidden=.32.: leave network.hidden out, got 50"),
        (("network.filters=0",), "network.filters must be at least 1, got 0"),
        (("network.filters=1.5",), "network.filters must be a whole number, or a list of them, got 1.5"),
        (("network.filters=[2,2,2]",), "network.filters must be of one layer or two, as in .10,32., got .2, 2, 2."),
        (("network.filters=[2,2]", "network.field=[7,2,2]"), "network.field must be one number, or one for each of"),
        (
            ("network.filters=[2,2]", "network.field=[7,3]"),
            "network.field=3 at network.places=4 does not fit onto maps of 4 x 4 places",
        ),
        ((*DEEP, "network.shared=false"), "network.shared=false knows one layer of filters"),
        ((*DEEP, "learner.filter_genes=10"), "learner.filter_genes must be one number for each of network.filters"),
        ((*DEEP, "learner.filter_genes=[10,x]"), "learner.filter_genes must be a whole number, or a list of them"),
        (
            (*DEEP, "learner.genes=56"),
            "6 for each of 3 x 2 pairs of a filter and a map, and as many more for each pair",
        ),
    ],
)
def test_wrong_filters_are_one_line(overrides: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        made(*overrides)


def test_analysis_takes_the_networks_that_the_run_had(tmp_path: Path, train: Command) -> None:
    steps = "trainer.max_steps=60", "learner.epsilon_final=30"  # p is all but fixed: individuals are alike
    done = train(*SMALL, "learner.genes=440", "data.per_class=50", *steps, "run_dir=a")
    assert done.returncode == 0, done.stderr
    analysed = call("analyse", "architecture", "a", cwd=tmp_path)
    assert analysed.returncode == 0, analysed.stderr
    with (tmp_path / "outputs" / "theory" / "architecture.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    reached = json.loads((tmp_path / "a" / "summary.json").read_text())["test_accuracy"]
    assert reached > 0.25
    assert float(last["accuracy, %"]) == pytest.approx(100 * reached, abs=3)
