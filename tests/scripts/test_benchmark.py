"""The benchmark's two paths compute the same thing; its table and JSON hold what they say."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import benchmark
from benchmarks import population, race
from benchmarks.library_peers import OpenES
from benchmarks.peers import DenseEvolution
from nne.learners.network import NetworkEvolution
from nne.population.cpp import kernel
from nne.population.factory import with_backend
from nne.training.config import Config, TrainerConfig
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from tests.conftest import altered, needs_compiler


def test_the_dense_path_is_the_same_network(small: Config, digits: Dataset, fp32: Compute) -> None:
    config = altered(small, batch=None)
    ours, dense = (kind(config, digits, fp32).environment for kind in (NetworkEvolution, DenseEvolution))
    torch.testing.assert_close(
        dense.rewards(*dense.minibatch(0)), ours.rewards(*ours.minibatch(0)), rtol=1e-4, atol=1e-4
    )


@needs_compiler
def test_a_row_holds_the_scale_and_consistent_figures(small: Config, digits: Dataset, fp32: Compute) -> None:
    row = population.measure(small, digits, fp32, repeats=1)
    assert (row.genes, row.individuals, row.images) == (300, 70, 40)
    assert row.cpp_seconds
    assert row.ratio == pytest.approx(row.dense_seconds / row.cpp_seconds)
    assert row.networks_per_second == pytest.approx(70 / row.cpp_seconds)
    assert row.peak_gib > 0.1
    assert row.instructions == kernel.instructions()
    assert row.auto == with_backend(small, fp32).backend


def test_json_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Config) -> None:
    monkeypatch.setattr(population, "PAPER", altered(small, population=4))
    monkeypatch.setattr(population, "GENES", (50,))
    monkeypatch.setattr(population, "BATCHES", (20,))
    monkeypatch.setattr(population, "LEVELS", {})
    path = tmp_path / "found.json"
    monkeypatch.setattr(
        sys, "argv", ["benchmark.py", "population", "--json", str(path), "--data=embedded", "--repeats=1"]
    )
    benchmark.main()
    (row,) = json.loads(path.read_text())["rows"]
    assert row["level"] == "native"
    assert (row["genes"], row["individuals"], row["images"]) == (50, 4, 20)


def test_the_benchmark_of_plasticity_runs_both_paths_and_a_whole_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(benchmark.DOPAMINE, trainer=TrainerConfig(max_steps=3))
    monkeypatch.setattr(benchmark, "DOPAMINE", short)
    monkeypatch.setattr(benchmark, "WIDTHS", (50,))
    monkeypatch.setattr(benchmark, "WIDEST", 300)
    path = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "dnn", "--json", str(path), "--data=embedded", "--repeats=1"])
    benchmark.main()
    side_by_side, whole = json.loads(path.read_text())["rows"]
    assert side_by_side["width"] == 50
    assert side_by_side["ratio"] == pytest.approx(side_by_side["primal"] / side_by_side["dual"])
    assert (whole["width"], whole["epochs"]) == (300, 3)
    assert whole["seconds"]["total"] >= whole["seconds"]["gram"] + whole["seconds"]["epochs"]
    assert whole["accuracy"] > 0.3


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("gpu", "there is no GPU here, and this benchmark is of one"),
        ("peers", "nowhere must be installed: pip install"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    what: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(OpenES, "package", "nowhere")
    monkeypatch.setattr(race, "TUNED", {"evosax Open_ES": race.TUNED["evosax Open_ES"]})
    monkeypatch.setattr(sys, "argv", ["benchmark.py", what, "--data=embedded", "--device=cpu"])
    assert benchmark.main() == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
