"""Every place that records go to, read back: the same curves, whose last point is the summary's figure."""

import csv
import json
import struct
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nne.learners.metrics import measure
from tests.conftest import SMALL, call, summary

CURVES = {"test/individuals": "mean", "test/individuals_sd": "sd"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after 3 generations of 6, gone on with, and recorded everywhere; offline by default."""
    place = tmp_path_factory.mktemp("loggers")
    everywhere = "trainer.logger=[tensorboard,wandb,mlflow]"
    few = [*SMALL, "learner.test_individuals=10", "trainer.evaluate_every=3", everywhere, "run_dir=run"]
    for arguments in ((*few, "trainer.max_steps=3"), ("resume=run", "trainer.max_steps=6")):
        done = call("train", "experiment=nne_mnist10", *arguments, cwd=place)
        assert done.returncode == 0, done.stderr
    return place / "run"


def final(run: Path) -> dict[str, float]:
    """The summary's figures under the names of the curves."""
    measured = summary(run)
    of_individuals = {curve: measured["individuals"][name] for curve, name in CURVES.items()}
    return of_individuals | {f"test/{name}": measured[name] for name in ("modal", "mean_weights", "vote")}


def test_metrics_csv_ends_with_the_summary_s_figures(run: Path) -> None:
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    for curve, value in final(run).items():
        assert float(rows[-1][curve]) == pytest.approx(value, rel=1e-8)


def test_individuals_are_not_drawn_again_for_the_last_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts: list[int] = []

    def counted(*arguments: Any) -> Any:
        counts.append(arguments[3])
        return measure(*arguments)

    monkeypatch.setattr("nne.learners.network.measure", counted)
    few = [*SMALL, "learner.test_individuals=10", "trainer.evaluate_every=3", "trainer.max_steps=4", "run_dir=run"]
    assert call("train", "experiment=nne_mnist10", *few, cwd=tmp_path).returncode == 0
    assert counts == [2, 2, 10]  # after generations 1 and 3, and once for summary, curves and pictures of the end


def test_tensorboard_ends_with_the_summary_s_figures(run: Path) -> None:
    events = EventAccumulator(str(run))
    events.Reload()
    for curve, value in final(run).items():
        points = events.Scalars(curve)
        assert [point.step for point in points] == [1, 3, 6]
        assert points[-1].value == pytest.approx(value, rel=1e-6)


def test_wandb_has_it_in_files(run: Path) -> None:
    pytest.importorskip("wandb")
    records = [record for file in sorted(run.glob("wandb/offline-run-*/*.wandb")) for record in wandb_records(file)]
    history = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    points = [(row["step"], row["test/individuals"]) for row in history if "test/individuals" in row]
    assert [step for step, _ in points] == [1, 3, 6]
    assert points[-1][1] == pytest.approx(final(run)["test/individuals"], rel=1e-6)
    assert any(name.startswith("pictures/confusion") for row in history for name in row)
    ids = {record.run.run_id for record in records if record.WhichOneof("record_type") == "run"}
    assert len(ids) == 1  # one run, though it was stopped on the way


def wandb_records(file: Path) -> list[Any]:
    """What wandb wrote, in LevelDB's log format: blocks of 32 KiB of chunks, each with checksum, length and kind."""
    proto: Any = import_module("wandb.proto.wandb_internal_pb2")

    content, place, whole, records = file.read_bytes(), 7, b"", []  # after wandb's own header
    while place + 7 <= len(content):
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        whole += content[place + 7 : place + 7 + length]
        if kind in (1, 4):  # whole, or the last part
            record = proto.Record()
            record.ParseFromString(whole)
            records.append(record)
            whole = b""
        place += 7 + length
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
    return records


def test_mlflow_has_it_in_a_local_folder(run: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run.parent / 'outputs' / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("nne_mnist10")
    (recorded,) = client.search_runs([experiment.experiment_id])
    assert recorded.info.status == "FINISHED"
    assert recorded.data.params["learner.genes"] == "300"
    for curve, value in final(run).items():
        points = client.get_metric_history(recorded.info.run_id, curve)
        assert [point.step for point in points] == [1, 3, 6]
        assert points[-1].value == pytest.approx(value)
    names = [file.path for file in client.list_artifacts(recorded.info.run_id, "figures")]
    assert "figures/confusion.png" in names


def test_a_run_without_any_logger_still_has_its_folder(tmp_path: Path) -> None:
    few = [*SMALL, "trainer.max_steps=2", "trainer.logger=[]", "run_dir=run"]
    assert call("train", "experiment=nne_mnist10", *few, cwd=tmp_path).returncode == 0
    assert summary(tmp_path / "run")["steps"] == 2
    assert (tmp_path / "run" / "figures" / "confusion.png").exists()
    assert not list((tmp_path / "run").glob("events*"))


def test_a_logger_that_is_not_there_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nne.training.cli.find_spec", lambda name: None if name == "wandb" else True)
    done = call("train", "trainer.logger=[tensorboard,wandb]", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: trainer.logger=wandb is not installed: pip install -e '.[loggers]'\n"
    assert call("train", "trainer.logger=[tensorbord]", cwd=tmp_path).stderr.startswith("error: trainer.logger must be")
    assert not list(tmp_path.iterdir())
