"""The trainer with a learner that is nothing but the protocol: limits, saving, and errors in the middle of a run."""

import logging
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from nne.training.config import Config, TrainerConfig
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.io.checkpoint import load_latest
from nne.training.io.run_folder import RunFolder
from nne.training.learner import Learner, Metrics, State
from nne.training.logging.progress import ProgressBar, log_to_console, on_terminal
from nne.training.trainer import Trainer
from tests.conftest import CPU


class Counter(Learner):
    """Counts its steps; its loss is ``nan`` from a given step on."""

    compute = Compute(CPU, torch.float32)
    charts: ClassVar[dict[str, list[str]]] = {"loss": ["loss"]}

    def __init__(self, nan_at: int = -1, enough: int = -1) -> None:
        self.count, self.nan_at, self.enough = torch.zeros(1), nan_at, enough

    def step(self) -> Metrics:
        self.count = self.count + 1
        return {"loss": float("nan") if self.count == self.nan_at else 1.0}

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        return {"test/accuracy": 0.5}

    def reason_to_stop(self) -> str | None:
        return "enough" if self.count == self.enough else None

    def histograms(self) -> dict[str, Tensor]:
        return {"count": self.count}

    def state_dict(self) -> State:
        return {"count": self.count}

    def load_state_dict(self, state: State) -> None:
        self.count = state["count"]


@pytest.mark.parametrize(
    ("method", "gives", "message"),
    [
        ("step", None, "step of a learner must give a dictionary of numbers, gave None"),
        ("step", {"loss": "low"}, "step of a learner must give a dictionary of numbers"),
        ("evaluate", {"accuracy": 0.5}, r"evaluate of a learner must give test/accuracy, gave \['accuracy'\]"),
        ("state_dict", {"count": 3}, "state_dict of a learner must hold tensors alone, and not count"),
    ],
)
def test_a_learner_of_one_s_own_that_gives_something_else_is_told_so(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch, method: str, gives: Any, message: str
) -> None:
    monkeypatch.setattr(Counter, method, lambda self, *given: gives)
    with pytest.raises(UserError, match=message):
        trainer(tmp_path / "run", digits, Counter()).train()


def trainer(folder: Path, digits: Dataset, learner: Counter, **limits: Any) -> Trainer:
    config = Config(learner=None, trainer=TrainerConfig(**{"max_steps": 7, "checkpoint_seconds": 0, **limits}))
    return Trainer("counting", config, learner, digits, RunFolder(folder, resuming=False), None, "")


def test_any_learner_is_trained_to_a_limit_and_summarised(tmp_path: Path, digits: Dataset) -> None:
    result = trainer(tmp_path, digits, Counter()).train()
    assert (result["steps"], result["stopped_because"], result["test_accuracy"]) == (7, "7 steps done", 0.5)
    assert load_latest(tmp_path / "checkpoints")[0]["count"] == 7


def test_the_first_limit_reached_ends_it(tmp_path: Path, digits: Dataset) -> None:
    assert trainer(tmp_path / "a", digits, Counter(enough=3)).train()["stopped_because"] == "enough"
    assert trainer(tmp_path / "b", digits, Counter(), max_seconds=0.0).train()["steps"] == 0
    assert "seconds used" in trainer(tmp_path / "c", digits, Counter(), max_seconds=1e-6).train()["stopped_because"]


def test_numbers_that_are_not_finite_stop_it_and_name_the_way_on(tmp_path: Path, digits: Dataset) -> None:
    with pytest.raises(UserError, match=r"loss is no longer finite at step 5; the last checkpoint is of step 4; go on"):
        trainer(tmp_path, digits, Counter(nan_at=5)).train()
    assert not (tmp_path / "summary.json").exists()
    assert load_latest(tmp_path / "checkpoints")[1].step == 4


def test_a_disk_that_fills_up_is_one_line_and_costs_no_checkpoint(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, digits, Counter())

    def full(step: int, metrics: Metrics) -> None:
        if step == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(run.run, "log", full)
    with pytest.raises(UserError, match=r"cannot be written to \(No space left on device\); the last checkpoint is of"):
        run.train()
    assert load_latest(tmp_path / "checkpoints")[1].step == 3


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, torch.AcceleratorError])
def test_a_gpu_that_is_lost_on_the_way_is_one_line_and_costs_no_checkpoint(
    kind: type[Exception], tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, digits, Counter())

    def lost(step: int, metrics: Metrics) -> None:
        if step == 4:
            raise kind("CUDA error: the launch timed out\nand much more")

    monkeypatch.setattr(run.run, "log", lost)
    with pytest.raises(
        UserError, match=r"^the GPU failed \(CUDA error: the launch timed out\); the last checkpoint is of"
    ):
        run.train()
    assert load_latest(tmp_path / "checkpoints")[1].step == 3


def test_a_profile_is_shown_and_kept(tmp_path: Path, digits: Dataset) -> None:
    trainer(tmp_path, digits, Counter(), profile=True).train()
    assert "aten::add" in (tmp_path / "profile.json").read_text()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert "aten::add" in events.Tensors("profile/text_summary")[0].tensor_proto.string_val[0].decode()


def test_the_log_file_is_let_go_when_the_folder_is_closed(tmp_path: Path) -> None:
    before = list(logging.getLogger().handlers)
    RunFolder(tmp_path, resuming=False).close()
    assert logging.getLogger().handlers == before


def test_scalars_grow_ever_fewer_and_metrics_keep_every_step(tmp_path: Path, digits: Dataset) -> None:
    trainer(tmp_path, digits, Counter(), max_steps=1234, checkpoint_seconds=1000, evaluate_every=1000).train()
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in events.Scalars("loss")] == [*range(1, 1001), *range(1010, 1231, 10), 1234]
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1235


def test_quiet_means_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    log_to_console(quiet=True)
    logging.getLogger("nne.training.run").info("told to nobody")
    with ProgressBar("step", "test/accuracy", 0, 3) as bar:
        bar.update(1, {"speed/steps_per_second": 1.0, "speed/seconds": 1.0, "test/accuracy": 0.5})
    logging.getLogger("nne.training.io.checkpoint").warning("damaged")
    assert capfd.readouterr() == ("", "damaged\n")
    log_to_console()


def test_the_end_is_foretold_once_and_without_the_first_step(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), ProgressBar("generation", "test/accuracy", 10, 700) as bar:
        for step, seconds in enumerate([60.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 11):
            bar.update(step, {"speed/steps_per_second": 1 / seconds})
    assert [record.getMessage() for record in caplog.records] == [
        "about 6 min to go, for at most 700 generations; Ctrl-C saves and stops"
    ]


def test_a_notebook_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert on_terminal()
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not on_terminal()
