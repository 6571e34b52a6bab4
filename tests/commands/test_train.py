"""The real command, as a person runs it: to the end, killed, resumed, swept, and read back by TensorBoard."""

import csv
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nne.training.io.checkpoint import load_latest, save
from tests.conftest import SMALL, TRAIN, Command, call, environment, summary, without_times

STEPS = 40
RUN = ["experiment=nne_mnist10", *SMALL, f"trainer.max_steps={STEPS}"]
SUMMARY_KEYS = {
    *("experiment", "seed", "dataset", "train_size", "test_size", "device", "dtype", "backend", "steps", "seconds"),
    *("test_accuracy", "state_sha256", "versions", "git_commit"),
    *("generations", "fixed", "heterozygosity", "individuals", "modal", "mean_weights", "vote"),
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("unbroken")
    done = call("train", *RUN, "run_dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_run(run: Path, unbroken: Path) -> None:
    """Same summary, same ``p``, and records without gaps or doubles."""
    assert without_times(summary(run)) == without_times(summary(unbroken))
    timed = ("speed/seconds", "speed/overhead_seconds", "speed/steps_per_second", "memory/peak_gib")
    strip = [{k: v for k, v in row.items() if k not in timed} for row in rows(run)]
    assert strip == [{k: v for k, v in row.items() if k not in timed} for row in rows(unbroken)]
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    for tag in ("fitness/mean", "population/heterozygosity"):
        assert [event.step for event in events.Scalars(tag)] == list(range(1, STEPS + 1))


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [*TRAIN, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=environment(), text=True, **pipes)  # type: ignore[call-overload]


def wait_for_step(run: Path, step: int) -> None:
    """Until ``metrics.csv`` has reached a step."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (run / "metrics.csv").exists() and len((run / "metrics.csv").read_text().splitlines()) > step:
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached")


def test_a_run_leaves_everything_a_person_looks_for(unbroken: Path) -> None:
    result = summary(unbroken)
    assert result.keys() >= SUMMARY_KEYS
    assert result["dataset"] == "embedded"
    assert result["steps"] == result["generations"] == STEPS
    assert result["individuals"]["count"] == 5
    assert result["test_accuracy"] == result["individuals"]["mean"]
    assert [int(row["step"]) for row in rows(unbroken)] == list(range(1, STEPS + 1))
    assert all((unbroken / "figures" / f"{n}.png").exists() for n in ("convergence", "confusion", "receptive_fields"))
    assert "nne_mnist10: 40 generations done" in (unbroken / "train.log").read_text()
    state, metadata = load_latest(unbroken / "checkpoints")
    assert metadata.step == int(state["generation"]) == STEPS


@pytest.mark.parametrize(
    ("number", "checkpoint_seconds"),
    [
        pytest.param(signal.SIGKILL, 1000, marks=pytest.mark.slow),
        (signal.SIGTERM, 0.1),
        pytest.param(signal.SIGINT, 0.1, marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_at_a_random_moment_resumes_bit_for_bit(
    tmp_path: Path, unbroken: Path, number: signal.Signals, checkpoint_seconds: float
) -> None:
    step = random.randint(1, STEPS - 15)
    run = tmp_path / "run"
    process = start(tmp_path, *RUN, "run_dir=run", f"trainer.checkpoint_seconds={checkpoint_seconds}")
    wait_for_step(run, step)
    time.sleep(random.random() * 0.1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    if number is signal.SIGKILL:
        assert process.returncode == -9
    else:
        assert process.returncode == 128 + number, output
        assert f"stopped by {number.name} at generation" in output
        assert "go on with: python scripts/train.py resume=run" in output
    assert not (run / "summary.json").exists()
    arguments = ["resume=auto", *RUN, "run_dir=run"] if number is signal.SIGTERM else ["resume=run"]
    again = start(tmp_path, *arguments)
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, f"after {number.name} at {step}: {output}"
    assert_same_run(run, unbroken)


def test_a_finished_run_is_not_run_again_but_can_be_made_longer(tmp_path: Path, train: Command) -> None:
    short = [a for a in RUN if not a.startswith("trainer.max_steps")]
    assert train(*short, "trainer.max_steps=3", "learner.epsilon_final=null", "run_dir=run").returncode == 0
    once = (tmp_path / "run" / "summary.json").read_bytes()
    done = train("resume=run")
    assert done.returncode == 0
    assert "is finished already" in done.stdout
    assert (tmp_path / "run" / "summary.json").read_bytes() == once
    began = summary(tmp_path / "run")["command"]
    assert train("resume=run", "trainer.max_steps=5").returncode == 0
    longer = began.replace(" trainer.max_steps=3", "")
    assert summary(tmp_path / "run")["command"] == f"{longer} trainer.max_steps=5"
    assert summary(tmp_path / "run")["steps"] == 5
    assert [row["step"] for row in rows(tmp_path / "run")] == ["1", "2", "3", "4", "5"]

    refused = train("resume=run", "learner.genes=301")
    assert refused.returncode == 2
    assert refused.stderr == "error: resume: learner.genes was 300 when the run began, not 301; leave it out\n"
    refused = train(*RUN, "run_dir=run")
    assert refused.returncode == 2
    assert "run already holds a run: go on with it by resume=run" in refused.stderr


def test_a_run_does_not_go_on_with_other_images(tmp_path: Path, train: Command, unbroken: Path) -> None:
    """``data=auto`` may find MNIST today and not tomorrow; that must not go unnoticed."""
    state, metadata = load_latest(unbroken / "checkpoints")
    save(tmp_path / "run" / "checkpoints", state, replace(metadata, dataset="mnist"), keep=1)
    done = train("resume=run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: resume: the run is on mnist; here is only embedded")


def test_a_run_without_an_experiment_says_which_it_is(tmp_path: Path, train: Command) -> None:
    done = train(*SMALL, "trainer.max_steps=2", "run_dir=run")
    assert done.returncode == 0
    first, second = done.stdout.splitlines()[:2]
    assert "nne_mnist10: Neural net evolution on all ten digits" in first
    assert "no experiment is named, so it is this one; for others: python scripts/train.py --help" in second


def test_a_second_writer_is_refused(tmp_path: Path, train: Command) -> None:
    endless = [a for a in RUN if not a.startswith("trainer.max_steps")]
    first = start(tmp_path, *endless, "trainer.max_steps=100000", "trainer.checkpoint_seconds=0", "run_dir=run")
    try:
        wait_for_step(tmp_path / "run", 2)
        done = train("resume=run")
        assert done.returncode == 2
        assert done.stderr == "error: another run is writing to run; choose another run_dir\n"
    finally:
        first.kill()
        first.communicate()
