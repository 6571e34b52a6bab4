"""What several tests share: small real problems, and the real command as a subprocess."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings

from nne.learners.config import EvolutionConfig
from nne.training import data
from nne.training.config import Config, TrainerConfig
from nne.training.device import Compute
from nne.training.io import compiler
from nne.training.parts import DataConfig, NetworkConfig

needs_compiler = pytest.mark.skipif(compiler.compiler() is None, reason="there is no C++ compiler here")

settings.register_profile("project", deadline=None)  # machines are shared and slow at times
settings.load_profile("project")
torch.set_num_threads(1)  # tests run side by side, a process a core

REPOSITORY = Path(__file__).parent.parent
TRAIN = [sys.executable, str(REPOSITORY / "scripts" / "train.py")]
CPU = torch.device("cpu")

SMALL = [
    "data=embedded",
    "data.per_class=20",
    "network.hidden=40",
    "network.beta=0.02",
    "learner.genes=300",
    "learner.population=70",
    "learner.batch=40",
    "learner.test_individuals=5",
    "learner.stop_at_fixed=null",
    "trainer.evaluate_every=5",
]
"""Overrides that make an experiment small enough for a test; the components stay the real ones."""

HANGS = 600  # seconds after which a process is taken to hang; nothing else is decided by it
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def digits() -> data.Dataset:
    """Real digits: 20 a class to train on."""
    return data.load(DataConfig(source="embedded", per_class=20), seed=0)


@pytest.fixture
def small() -> Config:
    """The configuration that ``SMALL`` makes."""
    learner = EvolutionConfig(genes=300, population=70, batch=40, test_individuals=10)
    return Config(
        data=DataConfig(source="embedded", per_class=20),
        network=NetworkConfig(hidden=40, beta=0.02),
        learner=learner,
        trainer=TrainerConfig(max_steps=20),
    )


@pytest.fixture
def fp32() -> Compute:
    return Compute(CPU, torch.float32)


@pytest.fixture
def train(tmp_path: Path) -> Command:
    """``scripts/train.py`` in an empty folder with some arguments, to its end, in this process."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return call("train", *arguments, cwd=tmp_path)

    return run


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The same as a process of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [*TRAIN, *arguments]
        return subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=HANGS)

    return run


def call(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``main()`` of ``scripts/<script>.py``, as if typed, without the seconds that a process takes to start."""
    out, err, handlers, before = StringIO(), StringIO(), logging.getLogger().handlers[:], dict(os.environ)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [str(REPOSITORY / "scripts" / f"{script}.py"), *arguments])
        os.environ |= environment()
        try:
            code = import_module(script).main()
        except SystemExit as stop:
            code = stop.code
        finally:
            os.environ.clear()
            os.environ |= before
            GlobalHydra.instance().clear()
            logging.getLogger().handlers[:] = handlers
    return subprocess.CompletedProcess(sys.argv, code or 0, out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    """The environment of a test's subprocess: one thread, no data set but the embedded one."""
    return {**os.environ, "NNE_DATA": "/nonexistent", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def summary(folder: Path) -> dict[str, Any]:
    """The summary of a finished run."""
    return json.loads((folder / "summary.json").read_text())


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    """A summary less what may differ between two runs with the same result."""
    config = {**result["config"], "run_dir": None, "resume": None, "trainer": None}
    volatile = ("seconds", "overhead_seconds", "peak_memory_gib", "command", "git_commit", "config")
    return {**{k: v for k, v in result.items() if k not in volatile}, "config": config}


def altered(config: Config, **learner: Any) -> Config:
    """The configuration with other values for some of the learner's keys."""
    return replace(config, learner=replace(config.learner, **learner))
