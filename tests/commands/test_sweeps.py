"""Sweeps: one job after the other, side by side, or as jobs of a cluster; one that fails does not stop the others."""

from pathlib import Path

import pytest
import torch

from nne.registry import CONFIGS, LEARNERS
from nne.training import device
from nne.training.cli import check, register, sweep_folder
from tests.conftest import SMALL, Command, summary

JOBS = ["experiment=nne_mnist10", *[a for a in SMALL if not a.startswith("learner.genes")], "trainer.max_steps=2"]
LAUNCHERS = {
    "basic": [],
    "parallel": ["hydra/launcher=parallel"],
    "submitit": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"],
}


@pytest.mark.parametrize(
    "launcher", [pytest.param(name, marks=() if name == "basic" else pytest.mark.slow) for name in LAUNCHERS]
)
def test_a_sweep_goes_on_after_a_failure_and_says_so(
    launcher: str, tmp_path: Path, train: Command, command: Command
) -> None:
    """Jobs have folders named after what they override; of one the user's own rule fails."""
    rule = "def rule(p, *rest):\n    return p if len(p) != 200 or Path('mended').exists() else 1 / 0\n"
    (tmp_path / "moody.py").write_text(f"from pathlib import Path\n{rule}")
    jobs = [*JOBS, "learner.selection=moody.rule"]
    sweep = ["-m", *jobs, "learner.genes=100,200,300", "hydra.sweep.dir=sweep"]
    run = train if launcher == "basic" else command
    done = run(*sweep, *LAUNCHERS[launcher])
    assert done.returncode == 1, done.stderr
    failed = " ".join([*jobs, "learner.genes=200"])
    assert done.stderr.endswith(f"error: 1 of 3 jobs failed: {failed}\n")
    if launcher != "submitit":  # which writes what its jobs print to files
        why = "ZeroDivisionError: division by zero (moody.py:3)"
        assert f"job 2 of 3: learner.genes=200: failed: {why}" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        ours = [line for line in done.stdout.splitlines() if line[9:12] == "job"]
        assert len(ours) == 3  # a line a job
        assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("│")] == ["100", "300"]
    broken = tmp_path / "sweep" / sweep_folder([*jobs, "learner.genes=200"])
    assert "ZeroDivisionError: division by zero" in (broken / "train.log").read_text()
    result = [summary(path.parent) for path in (tmp_path / "sweep").glob("*/summary.json")]
    assert sorted(each["config"]["learner"]["genes"] for each in result) == [100, 300]
    assert all(each["command"].endswith(" ".join(sweep[-1:] + LAUNCHERS[launcher])) for each in result)

    if launcher == "submitit":
        return
    refused = train(*sweep)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: sweep already holds jobs of this sweep: go on with it by sweep.resume=")
    (tmp_path / "mended").touch()
    again = run(*sweep, "sweep.resume=true", *LAUNCHERS[launcher])
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished already, ") == 2
    assert (broken / "summary.json").exists()


def test_a_sweep_that_is_to_go_on_must_say_where_it_is(train: Command) -> None:
    refused = train("-m", *JOBS, "learner.genes=100,200", "sweep.resume=true")
    assert refused.returncode == 2
    assert refused.stderr == "error: sweep.resume=true goes on with a sweep's folder: add hydra.sweep.dir=FOLDER\n"


@pytest.mark.slow
def test_jobs_side_by_side_find_the_same_as_one_after_the_other(tmp_path: Path, command: Command) -> None:
    for launcher in ("basic", "parallel"):
        done = command("-m", *JOBS, "seed=0,1", f"hydra.sweep.dir={launcher}", f"hydra/launcher={launcher}")
        assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        job = sweep_folder([*JOBS, f"seed={seed}"])
        one, other = (summary(tmp_path / launcher / job)["state_sha256"] for launcher in ("basic", "parallel"))
        assert one == other


def test_a_sweep_has_a_folder_of_its_own(tmp_path: Path, train: Command) -> None:
    assert train("-m", *JOBS, "learner.genes=100", "learner.population=2,3").returncode == 0
    (sweep,) = (tmp_path / "outputs" / "multirun" / "nne_mnist10").iterdir()
    jobs = sweep.glob("*/summary.json")
    assert sorted(summary(job.parent)["config"]["learner"]["population"] for job in jobs) == [2, 3]


@pytest.mark.slow
def test_finetuning_side_by_side_evolves_first(tmp_path: Path, command: Command) -> None:
    tiny = ["data=embedded", "data.per_class=20", "network.hidden=40", "network.beta=0.02", "trainer.max_steps=2"]
    genes = "'learner.genes=300','learner.population=70','learner.batch=40','learner.test_individuals=5'"
    first = f"learner.evolve=['experiment=nne_mnist10',{genes},'trainer.max_steps=2']"
    sweep = ["-m", "experiment=nne_signsgd_mnist10", *tiny, first, "learner.individuals=2", "seed=0,1"]
    done = command(*sweep, "hydra/launcher=parallel")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("evolved/summary.json"))) == 2


@pytest.mark.slow
def test_a_sweep_over_experiments_has_a_folder_for_each(tmp_path: Path, train: Command) -> None:
    small = [a for a in JOBS if not a.startswith("experiment")]
    sweep = ["-m", "experiment=nne_mnist10,nne_mnist5", *small, "learner.genes=100", "seed=0,1", "hydra.sweep.dir=mine"]
    done = train(*sweep)
    assert done.returncode == 0, done.stderr
    result = [summary(path.parent) for path in (tmp_path / "mine").glob("*/summary.json")]
    assert sorted((each["experiment"], each["seed"]) for each in result) == [
        ("nne_mnist10", 0),
        ("nne_mnist10", 1),
        ("nne_mnist5", 0),
        ("nne_mnist5", 1),
    ]


def test_a_long_name_keeps_the_seed() -> None:
    constants = [f"learner.key_{i}={'x' * 20}" for i in range(9)]
    names = [sweep_folder([*constants, f"seed={seed}"]) for seed in (0, 1)]
    assert [name[-20:-13] for name in names] == [",seed=0", ",seed=1"]
    assert all(len(name) < 120 for name in names)


def test_a_job_s_folder_is_named_alike_before_and_while_it_runs() -> None:
    register(LEARNERS)
    overrides = ["experiment=nne_signsgd_mnist10", "learner.evolved='evolved/seed=${seed}'", "seed=0,1"]
    folders = [job.folder for job in check(overrides, True, CONFIGS, LEARNERS)]
    named = [sweep_folder([f"learner.evolved='evolved/seed={seed}'", f"seed={seed}"]) for seed in (0, 1)]
    assert [folder.name for folder in folders if folder] == named


def test_each_job_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[torch.device] = []
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    try:
        chosen = [device.choose("auto", "float32", job).device.index for job in range(5)]
        assert chosen == [0, 1, 2, 0, 1]
        assert [place.index for place in used] == chosen
        assert device.choose("cpu", "float32", 1).device.type == "cpu"
        monkeypatch.setenv("LOCAL_RANK", "2")  # under torchrun, each worker has its own
        assert device.choose("auto", "float32", 1).device.index == 2
    finally:
        torch.use_deterministic_algorithms(False)
