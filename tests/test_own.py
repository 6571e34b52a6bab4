"""What users add from outside: the six files of the page "Add your own", as they stand there, and what goes wrong."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dnn.rules import chosen_rule as plasticity
from nne import Evolution
from nne.fitness import chosen_transform
from nne.population.weights import chosen_expression
from nne.selection import chosen_rule
from nne.training import data
from nne.training.errors import UserError
from nne.training.parts import DataConfig
from tests.conftest import HANGS, REPOSITORY, Command, call, environment, needs_compiler, summary

SMALL = ["data.per_class=20", "network.hidden=40", "network.beta=0.02", "learner.genes=200", "learner.population=50"]
SMALL += ["learner.test_individuals=5", "learner.batch=20", "trainer.max_steps=4", "trainer.evaluate_every=2"]
EVOLVE = ["experiment=nne_mnist10", "data=embedded", *SMALL]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder outside the repository with the files of the page."""
    page = (REPOSITORY / "docs" / "own.md").read_text()
    files = re.findall(r'^```\w+ title="(.+?)"\n(.*?)^```', page, re.DOTALL | re.MULTILINE)
    assert len(files) == 6
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0].startswith(("my_", "wrong")):
            del sys.modules[name]


def typed(line: str) -> list[str]:
    """The words of the page's command that begins so."""
    page = (REPOSITORY / "docs" / "own.md").read_text()
    (result,) = {each.strip() for each in page.splitlines() if each.startswith("    nne train") and line in each}
    return result.removeprefix("nne train ").split()


REPORTED = ("learner=my_learner.Perceptron", "--config-dir mine experiment=bars")


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("learner.selection=my_selection.truncation", ["data=embedded", *SMALL]),
        ("learner.rule=my_plasticity.hebb", ["data=embedded", "data.per_class=20", "trainer.max_steps=3"]),
        pytest.param(
            *("learner=my_learner.Perceptron", ["data=embedded", "data.per_class=20", "trainer.max_steps=3"]),
            marks=pytest.mark.slow,
        ),
        ("learner=my_rule.SignOfError", ["data=embedded", "data.per_class=20", "trainer.max_steps=3"]),
        ("data.source=my_data.bars", SMALL),
        pytest.param("--config-dir mine experiment=bars", SMALL, marks=pytest.mark.slow),
    ],
)
def test_what_is_added_is_trained_resumed_evaluated_and_exported(place: Path, line: str, more: list[str]) -> None:
    lines = {"--config-dir mine experiment=bars": ["--config-dir", "mine", "experiment=bars"]}
    done = call("train", *(lines.get(line) or typed(line)), *more, "run_dir=run", cwd=place)
    assert done.returncode == 0, done.stderr
    steps = summary(place / "run")["steps"]
    assert call("train", "resume=run", f"trainer.max_steps={steps + 1}", cwd=place).returncode == 0
    assert summary(place / "run")["steps"] == steps + 1
    told = call("evaluate", "run=run", cwd=place)
    assert told.returncode == 0, told.stderr
    exported = call("export", "run=run", cwd=place)
    assert exported.returncode == 0, exported.stderr
    if line in REPORTED:
        report = call("report", "run", cwd=place)
        assert report.returncode == 0, report.stderr
        assert "## runs" in report.stdout


@pytest.mark.slow
@needs_compiler
def test_all_of_it_side_by_side_and_over_two_processes(place: Path) -> None:
    asked = ["--config-dir", "mine", "experiment=bars", *SMALL]
    python = [sys.executable, "-m"]
    lines = [
        [*python, "nne.commands", "train", *asked, "run_dir=one"],
        [
            *python,
            "nne.commands",
            "train",
            "-m",
            *asked,
            "seed=0,1",
            "hydra/launcher=parallel",
            "hydra.sweep.dir=sweep",
        ],
        [*python, "torch.distributed.run", "--nproc-per-node=2", "-m", "nne.commands", "train", *asked, "run_dir=two"],
    ]
    for line in lines:
        done = subprocess.run(line, cwd=place, env=environment(), capture_output=True, text=True, timeout=HANGS)
        assert done.returncode == 0, done.stderr
    (first,) = (place / "sweep").glob("*seed=0*")
    prints = {summary(folder)["state_sha256"] for folder in (place / "one", place / "two", first)}
    assert len(prints) == 1


WRONG = {
    "learner.selection=wrong.missing": "learner.selection=wrong.missing cannot be imported (AttributeError",
    "learner.selection=nowhere.rule": "learner.selection=nowhere.rule cannot be imported (ModuleNotFoundError",
    "learner.selection=wrong.two": "selection=wrong.two must be a function rule(p, sample, epsilon, memory) -> p",
    "learner.selection=wrong.outside": "it gave tensor([2., 2., 2., 2., 2.]",
    "learner.selection=wrong.number": "on a small example: it cannot be called",
    "learner.selection=truncation": "must be one of population_genetics, pbil",
    "learner.fitness=wrong.one": "fitness=wrong.one must be a function transform(fitness) -> fitness",
    "learner.expression=wrong.one": "expression=wrong.one must be a function g(weights) -> weights",
    "learner=wrong.NoLearner": "learner=wrong.NoLearner must be a subclass of nne.training.learner.Learner",
    "data.source=wrong.one": "data.source=wrong.one failed (TypeError",
    "data.source=wrong.nothing": "data.source=wrong.nothing must give a dictionary of images and labels",
    "data.source=wrong.unlike": "labels must be as many as its images, got 3 for 4",
}


@pytest.mark.parametrize("override", WRONG)
def test_what_is_wrong_is_one_line_and_nothing_is_written(place: Path, override: str) -> None:
    (place / "wrong.py").write_text(
        "import numpy, torch\n"
        "number = 3\n"
        "def two(p, sample): return p\n"
        "def outside(p, sample, epsilon, memory): return torch.full_like(p, 2)\n"
        "def one(x): return 1.0\n"
        "def nothing(): return None\n"
        "def unlike(): return {'images': numpy.zeros((4, 3)), 'labels': [0, 1, 2]}\n"
        "class NoLearner: pass\n"
    )
    before = sorted(place.iterdir())
    done = call("train", *EVOLVE, override, cwd=place)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert WRONG[override] in done.stderr
    assert [path for path in sorted(place.iterdir()) if path.name != "__pycache__"] == before


def test_a_learner_that_lacks_a_method_is_told_which(place: Path) -> None:
    half = "class Half(Learner):\n    def __init__(self, *given): pass\n    def step(self): return {}\n"
    (place / "half.py").write_text(f"from nne.training.learner import Learner\n{half}")
    asked = "experiment=none", "network=none", "data=embedded", "learner=half.Half", "trainer.max_steps=1"
    done = call("train", *asked, cwd=place)
    assert done.returncode == 2
    lacking = "evaluate, load_state_dict, state_dict"
    assert done.stderr == f"error: learner=half.Half has no {lacking}: see nne.training.learner.Learner\n"


def test_an_experiment_of_one_s_own_is_looked_for_and_a_misspelt_one_refused(place: Path, train: Command) -> None:
    done = train("--config-dir", "mine", "experiment=brs")
    assert done.stderr == "error: there is no experiment=brs; did you mean bars?\n"
    assert "there is no folder of configurations" in train("--config-dir=none", "experiment=bars").stderr


def test_functions_are_taken_as_they_are() -> None:
    def half(p: torch.Tensor, sample: object, epsilon: float, memory: torch.Tensor) -> torch.Tensor:
        memory.add_(1)
        return p * 0 + 0.5

    half.remembers = 1  # type: ignore[attr-defined]
    evolution = Evolution(genes=5, population=4, selection=half, fitness=lambda f: f - f.mean())
    evolution.ask()
    evolution.tell([1.0, 2.0, 3.0, 4.0])
    assert 0.5 in evolution.p.tolist()
    assert evolution.memory.tolist() == [[1.0] * 5]
    assert chosen_transform("none")(torch.ones(2)).tolist() == [1, 1]
    assert chosen_expression(torch.abs)(torch.tensor([-1.0])).item() == 1
    with pytest.raises(ValueError, match="must be one of literal"):
        plasticity("hebb")
    with pytest.raises(ValueError, match=r"selection=.*lambda.* must be a function rule"):
        chosen_rule(lambda p: p)  # type: ignore[arg-type, misc]


def test_arrays_of_any_size_and_with_any_labels(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    words = np.array(["b", "a", "c"] * 20)
    given = {"images": stream.integers(0, 256, (60, 5, 7, 3), dtype=np.uint8), "labels": words}
    np.savez(tmp_path / "one.npz", **given)  # type: ignore[arg-type]
    result = data.load(DataConfig(source="arrays", path=str(tmp_path / "one.npz"), per_class=None), seed=0)
    assert result.classes == ("a", "b", "c")
    assert (result.train_images.shape, result.test_images.shape) == ((48, 35), (12, 35))
    assert result.train_images.max() <= 1
    again = data.load(DataConfig(source="arrays", path=str(tmp_path / "one.npz"), per_class=None), seed=0)
    assert torch.equal(result.test_images, again.test_images)
    assert result.name == again.name
    np.savez(tmp_path / "two.npz", **given, test_images=given["images"][:9], test_labels=words[:9])  # type: ignore[arg-type]
    config = DataConfig(source="arrays", path=str(tmp_path / "two.npz"), per_class=5)
    result = data.load(config, seed=0)
    assert (len(result.train_labels), len(result.test_labels)) == (15, 9)
    assert result.test_labels.tolist() == [1, 0, 2] * 3
    assert result.name != again.name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": [0, 1]}, "it lacks images"),
        ({"images": np.zeros((2, 3)), "labels": [0, 0]}, "labels must be of two or more classes, got 1"),
        ({"images": np.zeros((2, 3)), "labels": [0, 1, 1]}, "labels must be as many as its images, got 3 for 2"),
        ({"images": np.array([["a"], ["b"]]), "labels": [0, 1]}, "images must be numbers"),
        ({"images": np.full((2, 3), np.nan), "labels": [0, 1]}, "images must be finite numbers"),
        ({"images": np.zeros(2), "labels": [0, 1]}, r"images must be \[S, ...\], got \[2\]"),
        (
            {"images": np.zeros((2, 3)), "labels": [0, 1], "test_images": np.zeros((1, 3)), "test_labels": [7]},
            r"test_labels holds \[7\], which labels does not",
        ),
    ],
)
def test_arrays_that_are_wrong_are_one_line(given: dict[str, object], said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", **given)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=said):
        data.load(DataConfig(source="arrays", path=str(tmp_path / "one.npz")), seed=0)


def test_files_that_are_wrong_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no arrays")
    with pytest.raises(UserError, match="cannot be read"):
        data.load(DataConfig(source="arrays", path=str(tmp_path / "text.npz")), seed=0)
    with pytest.raises(UserError, match="there is no such folder"):
        data.load(DataConfig(source="folder", path=str(tmp_path / "none")), seed=0)
    with pytest.raises(UserError, match=r"data\.path must be given"):
        DataConfig(source="arrays")


def test_pictures_in_a_folder_a_class(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.fromarray(stream.integers(0, 256, (4, 6, 3), dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    result = data.load(DataConfig(source="folder", path=str(tmp_path), per_class=3, test_share=0.25), seed=0)
    assert result.classes == ("cat", "dog")
    assert (result.train_images.shape, result.test_images.shape) == ((6, 24), (3, 24))
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    with pytest.raises(UserError, match=r"notes\.txt is not a picture"):
        data.load(DataConfig(source="folder", path=str(tmp_path)), seed=0)
