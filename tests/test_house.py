"""The structure: who may import whom, what is in the wheel, and that a name of one's own breaks nothing."""

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.conftest import HANGS, REPOSITORY

MAY_IMPORT = {
    "nne/training": ("nne.training",),
    "dnn": ("dnn", "nne.training"),
}
"""Of the project's own modules; the two sciences meet in ``nne.registry`` alone."""


def imported(path: Path) -> set[str]:
    """The project's modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] in ("nne", "dnn", "scripts", "tests")}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_lower_floor_knows_no_higher_one(room: str) -> None:
    for path in (REPOSITORY / room).rglob("*.py"):
        wrong = {name for name in imported(path) if not name.startswith(MAY_IMPORT[room])}
        assert not wrong, f"{path.relative_to(REPOSITORY)} imports {wrong}"


def test_evolution_knows_nothing_of_plasticity() -> None:
    for path in (REPOSITORY / "nne").rglob("*.py"):
        if path.name != "registry.py":
            assert not {name for name in imported(path) if name.startswith("dnn")}, path


def test_every_package_is_in_the_wheel() -> None:
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {
        ".".join(path.parent.relative_to(REPOSITORY).parts)
        for package in ("nne", "dnn")
        for path in (REPOSITORY / package).rglob("__init__.py")
    }
    assert set(listed) == there | {"nne.configs"}


def test_a_module_of_one_s_own_breaks_nothing(tmp_path: Path) -> None:
    for name in ("training", "learners", "data", "logging_of_mine"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not this one')\n")
    code = "from nne import Evolution; print(len(Evolution(genes=3, population=2).ask())); import sys; "
    code += "print('hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=HANGS)
    assert (done.stdout, done.stderr) == ("2\nFalse\n", "")


@pytest.mark.slow
def test_the_wheel_is_whole(tmp_path: Path) -> None:
    """It has the library, the kernel's source, the configurations and the command."""
    left_out = shutil.ignore_patterns(".*", "build", "outputs", "*.egg-info", "__pycache__")  # a clean copy
    shutil.copytree(REPOSITORY, tmp_path / "source", ignore=left_out)
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(tmp_path / "source")]
    subprocess.run(wheel, check=True, timeout=HANGS, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path / "installed")
        names = archive.namelist()
    assert {"nne/population/cpp/kernel.cpp", "nne/configs/experiment/nne_mnist10.yaml", "nne/py.typed"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "scripts", "training"))]
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); import nne; assert 'installed' in nne.__file__; "
    code += "from nne.commands import main; sys.argv[0] = 'nne'; sys.exit(main())"
    asked = ["train", "experiment=nne_mnist10", "data=embedded", "data.per_class=20", "learner.genes=50"]
    asked += ["learner.population=20", "trainer.max_steps=2", "run_dir=run"]
    line = [sys.executable, "-c", code, str(tmp_path / "installed"), *asked]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").exists()
