"""Whatever was swept has a table and a figure: numbers in order, other values by name, learners of one's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import report
from nne.training.io.results import find_runs, natural_key
from reporting import pictures, sweeps
from tests.conftest import SMALL, Command
from tests.scripts.test_report import finished, reported


def test_numbers_are_sorted_as_numbers_and_lines_named_by_what_differs(tmp_path: Path) -> None:
    for rate in (0.5, 10, 2, 0.01):
        for seed in (0, 1):
            name, given = f"{rate} {seed}", [f"learner.learning_rate={rate}", f"seed={seed}"]
            finished(tmp_path / name, "sgd_mnist10", *given, test_accuracy=0.5 + seed / 100)
    finished(tmp_path / "a", "sgd_mnist10", "learner.learning_rate=0.5", "learner.batch=10", test_accuracy=0.7)
    finished(tmp_path / "b", "sgd_mnist10", "learner.learning_rate=2", "learner.batch=10", test_accuracy=0.8)
    rates, batches = sorted(sweeps.sweeps(find_runs([tmp_path])), key=lambda sweep: sweep.key, reverse=True)
    assert (rates.key, batches.key) == ("learner.learning_rate", "learner.batch")
    assert rates.values == [0.01, 0.5, 2, 10]
    assert list(rates.lines) == ["learner.batch=10", "learner.batch=50"]
    rows = [(row["`learner.learning_rate`"], row["otherwise"], row["test accuracy, %"]) for row in sweeps.table(rates)]
    assert rows == [
        ("0.5", "`learner.batch=10`", "70.00"),
        ("2.0", "`learner.batch=10`", "80.00"),
        *((rate, "`learner.batch=50`", "50.50 ± 0.50") for rate in ("0.01", "0.5", "2.0", "10.0")),
    ]
    axes = sweeps.figure(rates).axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.5", "2", "10"]


def test_other_values_stand_side_by_side(tmp_path: Path) -> None:
    for i, g in enumerate(("identity", "relu", "tanh")):
        finished(tmp_path / g, "nne_mnist10", f"learner.expression={g}", test_accuracy=0.5 + i / 10)
    (sweep,) = sweeps.sweeps(find_runs([tmp_path]))
    axes = sweeps.figure(sweep).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["identity", "relu", "tanh"]
    assert [row["test accuracy of individuals, %"] for row in sweeps.table(sweep)] == ["50.00", "60.00", "70.00"]


def test_keys_with_parts_of_their_own_are_not_told_twice(tmp_path: Path) -> None:
    for genes in (50, 100):
        finished(tmp_path / f"{genes}", "nne_mnist10", f"learner.genes={genes}")
    assert sweeps.sweeps(find_runs([tmp_path])) == []


def test_a_curve_is_the_mean_over_seeds_and_settings_are_told_apart(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.8, 0.9)):
        finished(tmp_path / f"{seed}", "nne_mnist10", f"seed={seed}", test_accuracy=accuracy)
        finished(tmp_path / f"tanh {seed}", "nne_mnist10", "learner.expression=tanh", f"seed={seed}", test_accuracy=0.5)
    runs = find_runs([tmp_path])
    figure, (by_step, _) = pictures.learning_curves(runs, report.experiments(runs))
    lines = {line.get_label(): line for line in by_step.get_lines() if not str(line.get_label()).startswith("_")}
    assert list(lines) == ["nne_mnist10", "nne_mnist10, learner.expression=tanh"]
    assert np.asarray(lines["nne_mnist10"].get_ydata()) == pytest.approx([50, 85])
    first, second = lines.values()
    assert first.get_color() != second.get_color()
    assert (first.get_linestyle(), first.get_marker()) != (second.get_linestyle(), second.get_marker())
    assert len(figure.legends) == 1


def test_texts_are_sorted_by_the_numbers_in_them() -> None:
    names = ["learner.genes=5000", "learner.genes=500", "learner.genes=10", "learner.rule=text"]
    assert sorted(names, key=natural_key) == [names[2], names[1], names[0], names[3]]


def test_an_evolution_moves(train: Command, tmp_path: Path) -> None:
    assert train("experiment=nne_mnist10", *SMALL, "trainer.max_steps=7", "run_dir=run").returncode == 0
    done = reported("--animate", "run=run", "--out", "evolution.gif", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "evolution.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 8
    refused = reported("--animate", "run=run", "--out", "evolution.mp4", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--animate" in reported("--help", cwd=tmp_path).stdout
