"""The real command for every learner but evolution: to the end, killed and resumed, swept, read by TensorBoard."""

import random
import signal
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.commands.test_train import start, wait_for_step
from tests.conftest import Command, call, summary, without_times

SMALL = ["data=embedded", "data.per_class=20", "trainer.evaluate_every=10"]
RUNS = {
    "dnn_reward_h1000": ["features.width=300", "trainer.max_steps=60"],
    "dnn_kcap": ["features.width=600", "features.cap=20", "learner.path=primal", "trainer.max_steps=25"],
    "dtp_mnist10": ["network.hidden=[60,40]", "trainer.max_steps=40", "learner.batch=10"],
    "adam_features_h1000": ["trainer.max_steps=60", "learner.batch=50", "features.cap=20"],
}


QUICK = ("dnn_reward_h1000",)  # the others go on bit for bit in tests/test_conformance.py, too


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in RUNS]
)
def test_a_run_that_is_killed_and_resumed_equals_an_unbroken_one(
    experiment: str, train: Command, tmp_path: Path
) -> None:
    command = [f"experiment={experiment}", *SMALL, *RUNS[experiment], "trainer.checkpoint_seconds=0"]
    done = train(*command, "run_dir=unbroken")
    assert done.returncode == 0, done.stderr
    killed = start(tmp_path, *command, "run_dir=killed")
    wait_for_step(tmp_path / "killed", random.randint(1, 15))
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    time.sleep(1)  # files of events are read by the second they were begun in
    resumed = train("resume=killed", f"experiment={experiment}")
    assert resumed.returncode == 0, resumed.stderr
    unbroken = summary(tmp_path / "unbroken")
    assert without_times(summary(tmp_path / "killed")) == without_times(unbroken)
    assert unbroken["test_accuracy"] > 0.3
    assert (tmp_path / "unbroken" / "figures" / "confusion.png").exists()
    assert unbroken["dtype"] == "float32"
    events = EventAccumulator(str(tmp_path / "killed"), size_guidance={"scalars": 0}).Reload()
    assert [e.step for e in events.Scalars("train/accuracy")] == list(range(1, unbroken["steps"] + 1))
    wanted = {
        "dnn_reward_h1000": "dopamine",
        "dnn_kcap": "features/firing",
        "dtp_mnist10": "weights/0",
        "adam_features_h1000": "weights/w",
    }
    assert wanted[experiment] in events.Tags()["histograms"]


@pytest.mark.slow
def test_a_sweep_over_rules_makes_the_gram_matrix_once(
    train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[float] = []
    monkeypatch.setattr("dnn.gram.log.info", lambda text, *values: made.append(int(values[0])))
    swept = "learner.rule=introduction,text,delta"
    done = train("-m", "experiment=dnn_h1000", *SMALL, "features.width=200", "trainer.max_steps=2", swept)
    assert done.returncode == 0, done.stderr
    assert made == [200]
    assert len(list((tmp_path / "outputs" / "multirun" / "dnn_h1000").rglob("summary.json"))) == 3


def test_a_layer_that_cannot_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    wide = ["experiment=adam_features_h1000", *SMALL, "features.width=1e9"]
    done = call("train", *wide, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: features.width=1000000000 needs")
    assert "set features.width to at most" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
