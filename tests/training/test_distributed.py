"""One population evolved by several processes: the same bits for any number of them, and after one is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nne.training.distributed import Workers
from tests.conftest import REPOSITORY, SMALL, Command, environment, needs_compiler, summary

SETTINGS = [*SMALL, "learner.population=300", "trainer.checkpoint_seconds=0"]


def command(workers: int, *arguments: str) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={workers}"]
    return [*torchrun, str(REPOSITORY / "scripts" / "train.py"), *arguments]


def together(workers: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    asked = command(workers, *arguments)
    return subprocess.run(asked, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=240)


@given(st.integers(1, 5000), st.integers(1, 200), st.integers(1, 9))
def test_every_item_is_one_worker_s_and_blocks_stay_whole(items: int, block: int, count: int) -> None:
    shares = [Workers(rank, count).shard(items, block) for rank in range(count)]
    assert [i for share in shares for i in share] == list(range(items))
    assert all(share.start % block == 0 for share in shares if share)
    blocks = [-(-len(share) // block) for share in shares]
    assert max(blocks) - min(blocks) <= 1


@pytest.mark.parametrize(
    ("backend", "counts"),
    [pytest.param("torch", [2], marks=pytest.mark.slow), pytest.param("cpp", [3], marks=needs_compiler)],
)
def test_the_same_bits_for_any_number_of_workers(
    backend: str, counts: list[int], tmp_path: Path, train: Command
) -> None:
    asked = ["experiment=nne_mnist10", *SETTINGS, "trainer.max_steps=6", f"backend={backend}"]
    assert train(*asked, "run_dir=1").returncode == 0
    for workers in counts:
        done = together(workers, *asked, f"run_dir={workers}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("generation 5/6") == 1
    prints = {summary(tmp_path / f"{n}")["state_sha256"] for n in (1, *counts)}
    assert len(prints) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "few",
    [
        ("experiment=nne_filters_mnist10", "network.filters=2", "learner.genes=1400", "learner.population=90"),
        ("experiment=nne_apart_mnist10", "network.hidden=40", "learner.genes=700", "learner.class_genes=20"),
    ],
)
def test_so_have_genes_that_are_judged_by_modules_or_classes(
    few: tuple[str, ...], tmp_path: Path, train: Command
) -> None:
    asked = [*few, "data=embedded", "device=cpu", "trainer.max_steps=6", "run_dir=run"]
    assert train(*asked).returncode == 0
    (tmp_path / "other").mkdir()
    assert together(2, *asked, cwd=tmp_path / "other").returncode == 0
    assert len({summary(folder / "run")["state_sha256"] for folder in (tmp_path, tmp_path / "other")}) == 1


@pytest.mark.slow
def test_workers_are_killed_and_another_number_of_them_goes_on(tmp_path: Path, train: Command) -> None:
    """torchrun starts the group again once, then gives up; the bits are those of an unbroken run."""
    asked = ["experiment=nne_mnist10", *SETTINGS, "trainer.max_steps=120"]
    assert train(*asked, "run_dir=whole").returncode == 0
    asked += ["run_dir=broken", "resume=auto"]
    broken, quiet = tmp_path / "broken", subprocess.DEVNULL
    torchrun = [*command(3, *asked)[:3], "--max-restarts=1", *command(3, *asked)[3:]]
    started = subprocess.Popen(torchrun, cwd=tmp_path, env=environment(), stdout=quiet, stderr=quiet)
    for before in ("writing to broken", "going on in broken"):
        wait_for_a_checkpoint(broken, before, started)
        *_, last = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        os.kill(int(last), signal.SIGKILL)
    assert started.wait(timeout=120) != 0
    assert not (broken / "summary.json").exists()
    done = together(2, *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert summary(broken)["state_sha256"] == summary(tmp_path / "whole")["state_sha256"]
    assert together(2, *asked, cwd=tmp_path).returncode == 0  # finished already


def wait_for_a_checkpoint(folder: Path, after: str, process: subprocess.Popen[bytes]) -> None:
    """Until a line is in the log, and a checkpoint newer than those that there were then."""
    log, there = folder / "train.log", set[Path]()
    while not log.exists() or after not in log.read_text():
        assert process.poll() is None
        there = set((folder / "checkpoints").glob("*.safetensors"))
        time.sleep(0.05)
    while set((folder / "checkpoints").glob("step_*[1-9].safetensors")) <= there:
        assert process.poll() is None
        time.sleep(0.05)


def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    done = together(2, "experiment=nne_mnist10", "learner.gens=3", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("error: there is no key learner.gens; did you mean learner.genes?") == 1


def test_a_learner_that_has_no_share_to_give_says_so(tmp_path: Path) -> None:
    done = together(2, "experiment=sgd_mnist10", "data=embedded", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("error: learner=gradient runs in one process; start it without torchrun") == 1
    assert not (tmp_path / "outputs").exists()
