"""`scripts/evaluate.py` on the runs of every kind of learner."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nne.commands import evaluate as script
from tests.conftest import SMALL, Command, call, summary

RUNS = {
    "nne_mnist10": [*SMALL, "trainer.max_steps=3", "learner.test_individuals=10"],
    "sgd_mnist10": ["data=embedded", "data.per_class=20", "network.hidden=40", "trainer.max_steps=3"],
    "dnn_h1000": ["data=embedded", "data.per_class=20", "features.width=100", "trainer.max_steps=3"],
}


def evaluate(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return call("evaluate", *arguments, cwd=cwd)


@pytest.mark.parametrize("experiment", RUNS)
def test_what_a_run_has_learnt(
    experiment: str,
    train: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(f"experiment={experiment}", *RUNS[experiment], "run_dir=run").returncode == 0
    monkeypatch.setenv("NNE_DATA", "/nonexistent")
    monkeypatch.setenv("COLUMNS", "200")
    script.evaluate(tmp_path / "run", "test")
    printed = capsys.readouterr().out
    result = re.findall(r"│ (\d) +│ 300 +│ ([\d.]+) +│", printed)
    assert [digit for digit, _ in result] == list("0123456789")
    mean = sum(float(share) for _, share in result) / 10
    told = re.search(r"(?:individuals|accuracy): ([\d.]+)%", printed)
    assert told
    assert float(told[1]) == pytest.approx(mean, abs=0.01)
    assert float(told[1]) == pytest.approx(100 * summary(tmp_path / "run")["test_accuracy"], abs=0.01)
    assert (tmp_path / "run" / "figures" / "confusion_test.png").exists()
    script.evaluate(tmp_path / "run", "train")
    printed = capsys.readouterr().out
    assert "200 train images" in printed
    assert len(re.findall(r"│ \d +│ 20 +│", printed)) == 10
    if experiment == "dnn_h1000":
        done = evaluate("run=run", "split=train", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run must be given, as in run=..."),
        (["run=nowhere"], "run=nowhere: there is no such folder"),
        (["run=."], "no checkpoint in checkpoints: is it the folder of a run?"),
        (["ruin=."], "there is no key ruin; did you mean run?"),
        (["run"], "run: give key=value; the keys are run, split"),
        (["run=.", "split=tests"], "split must be one of test, train, got tests"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = evaluate(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_still_evaluates(tmp_path: Path, train: Command) -> None:
    assert train("experiment=nne_mnist10", *SMALL, "trainer.max_steps=2", "run_dir=run").returncode == 0
    shutil.rmtree(tmp_path / "run" / "figures")
    (tmp_path / "run" / "figures").write_text("in the way")
    done = evaluate("run=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the confusion matrix is not drawn: run/figures/confusion_test.png cannot be written" in done.stdout
