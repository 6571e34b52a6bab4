"""Individuals that evolve first and learn then."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nne.commands.train import first_job
from nne.genome import draw
from nne.learners import finetune
from nne.learners.config import FinetuneConfig
from nne.learners.evolved import evolved as evolved_run
from nne.learners.finetune import Finetune
from nne.learners.network import NetworkEvolution
from nne.registry import LEARNERS
from nne.training.cli import register
from nne.training.config import Config, GradientConfig, TrainerConfig, to_dict
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.io import checkpoint
from nne.training.parts import DataConfig, NetworkConfig
from tests.conftest import Command, summary

DATA = DataConfig(source="embedded", per_class=20)


@pytest.fixture
def evolved(small: Config, digits: Dataset, fp32: Compute, tmp_path: Path) -> Path:
    """A run folder with the checkpoint of a short evolution."""
    learner = NetworkEvolution(small, digits, fp32)
    for _ in range(3):
        learner.step()
    metadata = checkpoint.Metadata("nne_mnist10", digits.name, 3, 1.0, to_dict(small))
    checkpoint.save(tmp_path / "evolved" / "checkpoints", learner.state_dict(), metadata, 1)
    return tmp_path / "evolved"


def finetune_config(evolved: Path, small: Config, seed: int = 0, **learner: object) -> Config:
    own = FinetuneConfig(evolved=str(evolved), individuals=4, learning_rate=0.001, **learner)  # type: ignore[arg-type]
    return replace(small, seed=seed, learner=own, trainer=TrainerConfig(max_steps=60))


def test_individuals_are_those_of_the_evolution(evolved: Path, small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = Finetune(finetune_config(evolved, small), digits, fp32)
    parents = NetworkEvolution(small, digits, fp32)
    state, metadata = checkpoint.load_latest(evolved / "checkpoints")
    parents.load_state_dict(state)
    x = draw(parents.evolution.p, 0, metadata.step, range(4), stream="lifetime")
    of_population = torch.zeros(4, dtype=torch.float64)
    for tile, which, logits in parents.tested.evaluate(
        lambda some: x[some.start : some.stop], range(4), digits.test_images
    ):
        of_population[tile.start : tile.stop] += (logits.argmax(dim=1) == digits.test_labels[which]).sum(dim=1)
    assert torch.equal(learner.initial, of_population / len(digits.test_labels))


def test_finetuning_improves_and_touches_the_output_layer_alone(
    evolved: Path, small: Config, digits: Dataset, fp32: Compute
) -> None:
    learner = Finetune(finetune_config(evolved, small), digits, fp32)
    seen = learner.seen
    assert isinstance(seen, Tensor)
    before = seen.clone()
    for _ in range(60):
        learner.step()
    assert torch.equal(before, seen)
    result = learner.summary(digits.test_images, digits.test_labels)
    assert result["after"]["mean"] > result["before"]["mean"] + 0.1
    assert result["test_accuracy"] == result["after"]["mean"]
    assert len(result["after"]["each"]) == 4
    assert not torch.equal(learner.initial, Finetune(finetune_config(evolved, small, seed=1), digits, fp32).initial)


def test_logits_that_were_centred_have_no_place_in_an_output_layer(
    evolved: Path, small: Config, digits: Dataset, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = evolved_run(evolved, "learner.evolved")
    source.config.learner.centre_logits = True
    monkeypatch.setattr(finetune, "evolved", lambda *_: source)
    with pytest.raises(UserError, match=r"evolve with learner\.centre_logits=false"):
        Finetune(finetune_config(evolved, small), digits, fp32)
    register(LEARNERS)
    with pytest.raises(UserError, match=r"add learner\.centre_logits=false to it"):
        first_job(["experiment=nne_apart_mnist10"])


def test_an_evolved_run_that_does_not_fit_is_refused(
    evolved: Path, small: Config, digits: Dataset, fp32: Compute
) -> None:
    config = finetune_config(evolved, small)
    wider = replace(config, network=NetworkConfig(hidden=50, beta=0.02))
    fewer = replace(config, data=replace(DATA, classes=[0, 1]))
    for wrong, message in (
        (finetune_config(evolved.parent / "nowhere", small), "there is no such folder"),
        (wider, r"does not fit: network was .*hidden=40.* there, is .*hidden=50.* here"),
        (fewer, r"does not fit: data\.classes was \[0, 1, .*\] there, is \[0, 1\] here"),
    ):
        with pytest.raises(UserError, match=message):
            Finetune(wrong, digits, fp32)
    state, metadata = checkpoint.load_latest(evolved / "checkpoints")
    gradient = Config(data=DATA, learner=GradientConfig(), trainer=TrainerConfig(max_steps=10), network=NetworkConfig())
    other = replace(metadata, config=to_dict(gradient), step=4)
    checkpoint.save(evolved / "checkpoints", state, other, 1)
    with pytest.raises(UserError, match=r"must be a run of learner=evolution, is of gradient"):
        Finetune(config, digits, fp32)


def test_the_command_evolves_first_and_can_use_what_evolved(train: Command, tmp_path: Path) -> None:
    tiny = ["data=embedded", "data.per_class=20", "network.hidden=40", "network.beta=0.02", "trainer.max_steps=10"]
    genes = "'learner.genes=300','learner.population=70','learner.batch=40','learner.test_individuals=5'"
    first = f"learner.evolve=['experiment=nne_mnist10',{genes},'trainer.max_steps=5']"
    done = train("experiment=nne_signsgd_mnist10", *tiny, first, "learner.individuals=3", "run_dir=run", "seed=2")
    assert done.returncode == 0, done.stderr
    result, parents = summary(tmp_path / "run"), summary(tmp_path / "run" / "evolved")
    assert (parents["experiment"], parents["seed"], parents["generations"]) == ("nne_mnist10", 2, 5)
    assert parents["config"]["network"] == result["config"]["network"]
    assert len(result["after"]["each"]) == 3
    again = ["learner.evolved=run/evolved", "learner.individuals=3", "run_dir=again", "seed=2"]
    done = train("experiment=nne_signsgd_mnist10", *tiny, *again)
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "again")["state_sha256"] == result["state_sha256"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("learner.evolved=nowhere", "learner.evolved=nowhere: there is no such folder"),
        ("learner.evolve=['experiment=nne_mnist1']", "there is no experiment=nne_mnist1; did you mean"),
        ("learner.evolve=['experiment=sgd_mnist10']", "learner.evolve must give learner=evolution, gives gradient"),
    ],
)
def test_an_evolution_that_cannot_be_had_is_one_line(
    train: Command, tmp_path: Path, override: str, expected: str
) -> None:
    done = train("experiment=nne_signsgd_mnist10", "data=embedded", override)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {expected}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
