"""The PBO suite: what is counted, what a search is given, who wins, and that what is known is not run again."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmark
from benchmarks import pbo
from benchmarks.pbo import Attempt, Counted, FinishedError
from benchmarks.pbo_peers import COMPETITORS, LIBRARIES, OURS, REFERENCES


def ones(x: list[int]) -> float:
    """OneMax."""
    return float(sum(x))


def attempt(competitor: str, instance: int, best: float, found: bool = False, function: int = 1) -> Attempt:
    """With chance at 50 and an optimum of 100."""
    return Attempt(function, "OneMax", 100, 500, instance, competitor, best, 50.0, 100.0, 500, found, 0.5)


@pytest.mark.parametrize("name", [OURS, "nne.Evolution", *REFERENCES])
def test_a_search_is_stopped_by_its_budget_and_by_the_optimum(name: str) -> None:
    short, whole = Counted(ones, 57, 200.0), Counted(ones, 10**6, 30.0)
    for counted, n in ((short, 200), (whole, 30)):
        with pytest.raises(FinishedError):
            COMPETITORS[name](counted, n, np.random.default_rng(0))
    assert (short.spent, short.found) == (57, False)
    assert (whole.best, whole.found) == (30, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_searches(name: str) -> None:
    module = {"DEAP": "deap", "pycma": "cma"}.get(name, name)
    pytest.importorskip(module)
    counted = Counted(ones, 3000, 40.0)
    with pytest.raises(FinishedError):
        COMPETITORS[name](counted, 40, np.random.default_rng(0))
    assert counted.best >= 34


def test_who_wins() -> None:
    attempts = [attempt(OURS, 1, 100, True), attempt(OURS, 2, 90), attempt("pymoo", 1, 100, True)]
    attempts += [attempt("pymoo", 2, 80), attempt("DEAP", 1, 70)]
    score = pbo.scores(attempts)[1]
    assert score[OURS].solved == 1
    assert score[OURS].reached == pytest.approx(0.9)
    assert pbo.wins({1: score}, ["pymoo", "DEAP"]) == {1: "win"}
    assert pbo.wins({1: score}, ["DEAP"]) == {1: "win"}
    assert pbo.wins({1: {**score, "DEAP": score[OURS]}}, ["DEAP"]) == {1: "tie"}
    *_, solved, cost = pbo.table(attempts)
    assert (solved[OURS], solved["against libraries"]) == ("0", "1 win, 0 tie, 0 loss")
    assert cost[OURS] == "1000"
    assert pbo.picture(attempts).axes


def test_what_is_known_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ioh")
    made = []

    def counting(*each: Any) -> Attempt:
        made.append(each)
        return real(*each)

    real = pbo.attempt
    monkeypatch.setattr(pbo, "attempt", counting)
    monkeypatch.setattr(pbo, "FUNCTIONS", (1, 23))
    words = ["benchmark.py", "pbo", "--genes=16", "--budget=300", "--only", OURS, "RLS", "--out", str(tmp_path)]
    for instances, expected in ((1, 4), (1, 4), (2, 8)):
        monkeypatch.setattr(sys, "argv", [*words, f"--instances={instances}"])
        assert benchmark.main() == 0
        assert len(made) == expected
    assert (tmp_path / "pbo.png").exists()
    assert "1 OneMax,2 of 2; 100.0" in (tmp_path / "pbo.csv").read_text()


def test_an_unknown_competitor_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ioh")
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "pbo", "--only", "nobody"])
    assert benchmark.main() == 2
    assert capsys.readouterr().err.startswith("error: competitors must be among nne.optimize")
