"""The documentation: it builds without a warning, holds every module, and its notebook runs."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import REPOSITORY


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "api" / "nne" / "index.html").read_text()
    assert 'id="nne.evolution.Evolution.tell"' in page
    library = (tmp_path / "library" / "index.html").read_text()
    assert all(f"{name}.py" in library for name in ("knapsack", "cartpole", "dopamine"))
    assert not [path for path in tmp_path.rglob("index.html") if "--8" in path.read_text()]  # every file is there


def test_every_module_has_its_entry() -> None:
    pages = (REPOSITORY / "docs" / "api").glob("*.md")
    told = [line.removeprefix("::: ") for page in pages for line in page.read_text().splitlines() if "::: " in line]
    paths = [path for package in ("nne", "dnn") for path in (REPOSITORY / package).rglob("*.py")]
    modules = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths if not path.stem.startswith("__")
    }
    assert sorted(told) == sorted(modules)


@pytest.mark.slow
def test_the_notebook_runs_and_finds_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNE_DATA", "/nonexistent")
    path = REPOSITORY / "docs" / "tutorial.ipynb"
    book = nbformat.read(path, as_version=4)
    shown = pictures(book)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert pictures(book) == shown == 4
    texts = [output["text"] for cell in book.cells for output in cell.get("outputs", []) if "text" in output]
    accuracy = float(texts[-1].split("right on ")[1].split("%")[0])
    assert accuracy > 90


def pictures(book: nbformat.NotebookNode) -> int:
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)
