"""The benchmark's two paths compute the same thing; its table and JSON hold what they say."""

import sys
from pathlib import Path

import pytest
import torch

from nne.evolution import Evolution
from tests.conftest import REPOSITORY, altered
from training.config import Config
from training.data import Dataset
from training.device import Compute

sys.path.insert(0, str(REPOSITORY / "scripts"))
import benchmark


def test_the_dense_path_is_the_same_network(small: Config, digits: Dataset, fp32: Compute) -> None:
    learner = Evolution(altered(small, batch=None), digits, fp32)
    dense = benchmark.dense_rewards(learner, 9)
    torch.testing.assert_close(
        dense(), learner.rewards(*learner.minibatch())[:9], rtol=1e-4, atol=1e-4, check_dtype=False
    )


def test_a_row_holds_the_scale_and_consistent_figures(small: Config, digits: Dataset, fp32: Compute) -> None:
    row = benchmark.measure(small, digits, fp32, repeats=1)
    assert (row.genes, row.individuals, row.images) == (300, 70, 40)
    assert row.ratio == pytest.approx(row.dense_seconds / row.seconds)
    assert row.evaluations_per_second == pytest.approx(70 * 40 / row.seconds)
    assert row.peak_gib > 0.1


def test_json_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Config) -> None:
    import json

    monkeypatch.setattr(benchmark, "PAPER", altered(small, population=4))
    monkeypatch.setattr(benchmark, "GENES", (50,))
    monkeypatch.setattr(benchmark, "BATCHES", (20,))
    path = tmp_path / "found.json"
    monkeypatch.setattr(
        sys, "argv", ["benchmark.py", "population", "--json", str(path), "--data=embedded", "--repeats=1"]
    )
    benchmark.main()
    (row,) = json.loads(path.read_text())["rows"]
    assert (row["genes"], row["individuals"], row["images"]) == (50, 4, 20)
