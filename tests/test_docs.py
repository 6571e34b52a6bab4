"""The documentation: it builds without a warning, holds every module, and its notebook runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from reporting import record
from reporting.tables import TABLE_1, TABLE_2
from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "api" / "nne" / "index.html").read_text()
    assert 'id="nne.evolution.Evolution.tell"' in page
    library = (tmp_path / "library" / "index.html").read_text()
    assert all(f"{name}.py" in library for name in ("knapsack", "cartpole", "dopamine"))
    assert not [path for path in tmp_path.rglob("index.html") if "--8&lt;" in path.read_text()]  # every file is there
    for name in NOTEBOOKS:
        assert "data:image/png" in (tmp_path / "notebooks" / name / "index.html").read_text()


def test_every_module_has_its_entry() -> None:
    pages = (REPOSITORY / "docs" / "api").glob("*.md")
    told = [line.removeprefix("::: ") for page in pages for line in page.read_text().splitlines() if "::: " in line]
    paths = [path for package in ("nne", "dnn") for path in (REPOSITORY / package).rglob("*.py")]
    modules = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths if not path.stem.startswith("__")
    }
    assert sorted(told) == sorted(modules)


NOTEBOOKS = {"first_steps": 4, "own_rule_and_data": 1, "reproduce_a_table": 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_shows_what_it_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNE_DATA", "/nonexistent")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # as if activated
    path = REPOSITORY / "docs" / "notebooks" / f"{name}.ipynb"
    book = nbformat.read(path, as_version=4)
    assert "sys.path" not in path.read_text()
    shown = pictures(book)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert pictures(book) == shown == NOTEBOOKS[name]
    texts = "".join(output["text"] for cell in book.cells for output in cell.get("outputs", []) if "text" in output)
    accuracies = [float(number) for number in re.findall(r"right on (\d+\.\d)%", texts)]
    assert all(accuracy > 80 for accuracy in accuracies)
    assert accuracies or "`dnn_reward_h1000` `data=embedded`" in texts


def pictures(book: nbformat.NotebookNode) -> int:
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


PAGES = [
    REPOSITORY / "README.md",
    *(path for path in sorted((REPOSITORY / "docs").rglob("*.md")) if path.parent.name not in ("report", "api")),
]
RESULTS = REPOSITORY / "docs" / "results.json"


def settings() -> set[str]:
    """The numbers that experiments are set to, and those that the paper reports."""
    files = (REPOSITORY / "configs" / "experiment").glob("*.yaml")
    set_to = {number for file in files for number in re.findall(r"\d+(?:\.\d+)?", file.read_text())}
    return set_to | {str(value) for cell in (*TABLE_1, *TABLE_2) for value in cell[3:] if value is not None}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_number_of_a_page_is_in_the_file_of_results(page: Path) -> None:
    known = record.read(RESULTS)
    document, name = page.read_text(), str(page.relative_to(REPOSITORY))
    assert record.missing(document, known) == []
    assert record.unfounded(document, name, known, settings()) == []


def test_a_number_that_is_changed_by_hand_is_noticed() -> None:
    known, page = record.read(RESULTS), (REPOSITORY / "README.md").read_text()
    (accuracy,) = [row["here"] for row in known["tables"]["headline"]["rows"] if row["experiment"] == "`nne_mnist10`"]
    other = f"{float(accuracy.split()[0]) + 0.37:.2f}"
    changed = page.replace(accuracy, other)
    assert changed != page
    assert record.missing(changed, known) == ["headline"]
    assert record.unfounded(f"It reaches {other} %.", "README.md", known, settings()) == [other]
    assert record.unfounded(f"It reaches {accuracy.split()[0]} %.", "README.md", known, settings()) == []
