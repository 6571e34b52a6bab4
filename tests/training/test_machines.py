"""Machines that lack what others have: a home, file locks, a clock that moves; and cores that are shared."""

import errno
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from nne.population.cpp import kernel, verification
from nne.population.factory import with_backend
from nne.population.verification import Check
from nne.training import cores
from nne.training.config import Config
from nne.training.device import Compute
from nne.training.io import cache, compiler
from nne.training.io.checkpoint import load_latest
from nne.training.io.lock import locked
from nne.training.io.run_folder import claim, new_folder
from tests.conftest import HANGS, SMALL, TRAIN, Command, environment, needs_compiler, summary

RUN = ["experiment=nne_mnist10", *SMALL, "trainer.max_steps=2", "backend=torch"]


def test_without_a_home_there_is_a_folder_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "user_cache_path", lambda *a, **k: Path("~/.cache/nne"))  # as where there is no home
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = cache.user_cache()
    assert result.parent == tmp_path
    assert result.stat().st_mode & 0o777 == 0o700
    assert cache.user_cache() == result
    result.chmod(0o777)  # somebody else may have put code there
    other = cache.user_cache()
    assert other != result
    assert other.stat().st_mode & 0o777 == 0o700


def on_a_machine(prelude: str, *arguments: str) -> list[str]:
    """The command line of ``scripts/train.py`` where something of Python's has been altered first."""
    run = "import runpy, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0][: -len('train.py')]); "
    run += "runpy.run_path(sys.argv[0], run_name='__main__')"
    return [sys.executable, "-c", f"{prelude}\n{run}", TRAIN[1], *arguments]


@pytest.mark.skipif(sys.platform == "win32", reason="homes are found otherwise there")
def test_a_run_without_a_home(tmp_path: Path) -> None:
    homeless = {k: v for k, v in environment().items() if k not in ("HOME", "XDG_CACHE_HOME", "NNE_DATA")}
    prelude = "import pwd\ndef nobody(*a): raise KeyError\npwd.getpwuid = nobody"
    settings = [*(a for a in RUN if a not in ("backend=torch", "data=embedded")), "data.download=false", "run_dir=run"]
    done = subprocess.run(
        on_a_machine(prelude, *settings),
        cwd=tmp_path,
        env=homeless | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert f"mnist is not in {tmp_path}/nne-" in done.stdout
    assert {path.name[:4] for path in tmp_path.iterdir()} == {"run", "nne-"}


def test_a_file_system_without_locks_is_warned_of_once(
    tmp_path: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(self: FileLock, *a: object, **k: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", none)
    done = train(*RUN, "run_dir=run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("there are no file locks in run") == 1
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_lock_is_one_process_s(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        code = "from pathlib import Path; from nne.training.io.lock import *\nwith locked(Path(sys.argv[1])): pass"
        code = f"import sys; {code}"
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], capture_output=True, text=True)
        assert "HeldError" in done.stderr


def test_runs_of_one_second_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda *a: "2026-01-01_00-00-00")  # a clock that stands still
    with ThreadPoolExecutor(6) as runs:
        result = list(runs.map(lambda _: new_folder("one", tmp_path), range(24)))
    assert len(set(result)) == 24
    assert {path.name for path in result} == {
        f"2026-01-01_00-00-00{end}" for end in ["", *(f"-{i}" for i in range(2, 25))]
    }
    assert claim(tmp_path / "other", "x") == tmp_path / "other" / "x"


@pytest.mark.slow
def test_six_runs_and_two_sweeps_at_once(tmp_path: Path) -> None:
    still = "import time; time.strftime = lambda *a: 'now'"
    lines = [on_a_machine(still, *RUN)] * 6 + [on_a_machine(still, "-m", *RUN, "seed=0,1")] * 2
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = [subprocess.Popen(line, cwd=tmp_path, env=environment(), **pipes) for line in lines]  # type: ignore[call-overload]
    told = [process.communicate(timeout=HANGS)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 8, told
    assert len(list((tmp_path / "outputs" / "nne_mnist10").glob("now*/summary.json"))) == 6
    assert len(list((tmp_path / "outputs" / "multirun" / "nne_mnist10").glob("now*/*/summary.json"))) == 4


def test_jobs_side_by_side_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "cores", lambda: 8)
    cores.share(3)
    assert os.environ["OMP_NUM_THREADS"] == "2"
    cores.share(8)  # what the user has said stands
    assert os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    cores.be_considerate()
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
    monkeypatch.delenv("GOMP_SPINCOUNT")


@needs_compiler
def test_the_kernel_is_checked_once_and_auto_heeds_it(
    tmp_path: Path, small: Config, fp32: Compute, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler._compiled.cache_clear()
    assert kernel.load() is None
    result = verification.check(torch.float32)
    assert 0 < result.error < 1e-5
    (kept,) = (tmp_path / "nne" / "kernels").glob("kernel-*.json")
    monkeypatch.setattr(verification, "measure", None)  # not again
    assert verification.check(torch.float32) == result
    kept.write_text('{"error": 1e-7, "kernel_seconds": 0.5, "torch_seconds": 0.25}')
    with caplog.at_level(logging.INFO):
        assert with_backend(small, fp32).backend == "torch"
    assert caplog.messages[-1].endswith("not by the project's own kernel: it is slower here: 500 ms against 250 ms")
    kept.write_text('{"error": NaN, "kernel_seconds": 0.1, "torch_seconds": 0.25}')
    assert with_backend(small, fp32).backend == "torch"
    kept.write_text("{")
    assert with_backend(small, fp32).backend == "torch"
    kept.write_text('{"error": 1e-7, "kernel_seconds": 0.1, "torch_seconds": 0.25}')
    chosen = with_backend(small, fp32)
    assert (chosen.backend, chosen.instructions) == ("cpp", kernel.instructions())
    compiler._compiled.cache_clear()


def test_what_a_check_objects_to() -> None:
    assert Check(1e-7, 1.0, 2.0).objection(1e-5) is None
    assert Check(1e-3, 1.0, 2.0).objection(1e-5) == "it differs from float64 by 1e-03, more than 1e-05"
    assert "slower here" in str(Check(1e-7, 2.0, 1.0).objection(1e-5))


@needs_compiler
@pytest.mark.slow
def test_a_run_goes_on_with_the_backend_that_it_began_with(
    tmp_path: Path, train: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where, since then, ``auto`` has come to mean another."""
    asked = [a for a in RUN if not a.startswith("backend")]
    for slower, backend in ((True, "torch"), (False, "cpp")):
        monkeypatch.setattr(
            "nne.population.cpp.verification.objection", lambda dtype, slower=slower: "slower" if slower else None
        )
        assert train(*asked, f"run_dir={backend}").returncode == 0
        assert load_latest(tmp_path / backend / "checkpoints")[1].backend == backend
        monkeypatch.setattr(
            "nne.population.cpp.verification.objection", lambda dtype, slower=slower: None if slower else "slower"
        )
        done = train(f"resume={backend}", "trainer.max_steps=3")
        assert done.returncode == 0, done.stderr
        assert summary(tmp_path / backend)["backend"] == backend
    assert train("resume=cpp", "backend=torch", "trainer.max_steps=4").returncode == 0  # unless told otherwise
    assert summary(tmp_path / "cpp")["backend"] == "torch"
