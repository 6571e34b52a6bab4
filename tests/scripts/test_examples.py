"""The examples of the page on the library: MAX-SAT, a selector of features by its library's checks, ioh's logger."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from examples.feature_selection import EvolvedFeatures
from examples.maxsat import clauses_of, satisfied
from nne.training.errors import UserError
from tests.conftest import HANGS, REPOSITORY

EXAMPLES = REPOSITORY / "scripts" / "examples"


def example(*words: str) -> subprocess.CompletedProcess[str]:
    """Run an example as a person would."""
    return subprocess.run([sys.executable, *words], cwd=EXAMPLES, capture_output=True, text=True, timeout=HANGS)


@pytest.mark.slow
def test_all_clauses_of_the_planted_file_are_satisfied() -> None:
    done = example("maxsat.py", "planted.cnf")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("420 of 420 clauses are satisfied")
    literals = {int(word) for word in done.stdout.splitlines()[1].split()[1:-1]}
    _, clauses = clauses_of(EXAMPLES / "planted.cnf")
    assert all(literals & set(clause) for clause in clauses)


@given(st.lists(st.lists(st.integers(1, 6).flatmap(lambda v: st.sampled_from([v, -v])), min_size=1), min_size=1))
def test_clauses_are_counted_as_a_loop_does(clauses: list[list[int]]) -> None:
    every = (torch.arange(64)[:, None] >> torch.arange(6)) % 2 > 0
    expected = [sum(any((lit > 0) == x[abs(lit) - 1] for lit in c) for c in clauses) for x in every.tolist()]
    assert satisfied(6, clauses)(every).tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p cnf 3 2\n1 -2 0\n2 3", "2 clauses that end in 0 were announced, got 1: is the file cut?"),
        ("p cnf 3 2\n1 -2 0\n", "announced, got 1"),
        ("1 2 0\n", "there is no line `p cnf VARIABLES CLAUSES`"),
        ("p cnf 2 1\n1 3 0\n", "there are 2 variables, got 3"),
        ("p cnf 2 1\n1 x 0\n", ":2: expected `p cnf VARIABLES CLAUSES` or literals, got `1 x 0`"),
        ("p wcnf 2 1\n1 0\n", ":1: expected `p cnf VARIABLES CLAUSES` or literals, got `p wcnf 2 1`"),
        ("p cnf\n", ":1: expected"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.cnf"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        clauses_of(path)
    assert message in str(raised.value)
    done = example("maxsat.py", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


@parametrize_with_checks([EvolvedFeatures(budget=20)])  # type: ignore[untyped-decorator]
def test_scikit_learn_s_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_features_are_selected() -> None:
    done = example("feature_selection.py")
    assert done.returncode == 0, done.stderr
    kept, right = done.stdout.splitlines()
    assert int(kept.split()[0]) < 15
    accuracy, with_all = (float(word.rstrip("%")) for word in right.split() if word.endswith("%"))
    assert accuracy >= with_all


def test_ioh_logs_every_evaluation(tmp_path: Path) -> None:
    pytest.importorskip("ioh")
    done = example("ioh_logger.py", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("merit factor") == 3
    assert '"evals": 5000' in next(tmp_path.rglob("*.json")).read_text()
