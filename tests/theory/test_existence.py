"""Theorem 2's existence against construction and definition; the experiments of `scripts/theory.py`."""

import csv
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import theory
from nne.theory.existence import aligned_genotype, frequencies_exist
from nne.theory.linear import LinearTarget, linear_target


@given(st.integers(2, 10), st.integers(1, 40), st.integers(0, 10**6))
def test_a_target_made_of_frequencies_is_found(m: int, n: int, seed: int) -> None:
    target = linear_target(m, n, m, seed)
    p = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert frequencies_exist(LinearTarget(target.W, target.W @ p))


@given(st.integers(2, 10), st.integers(1, 40), st.integers(0, 10**6))
def test_a_target_longer_than_all_genes_together_is_not(m: int, n: int, seed: int) -> None:
    target = linear_target(m, n, m, seed)
    longest = target.lengths.sqrt().sum()
    assert not frequencies_exist(LinearTarget(target.W, target.a * (longest + 0.01)))


def test_too_few_genes_cannot_and_many_can() -> None:
    assert not any(frequencies_exist(linear_target(20, 20, 5, seed)) for seed in range(5))
    assert all(frequencies_exist(linear_target(20, 100, 5, seed)) for seed in range(5))


def test_the_genotype_of_the_proof_is_as_defined_and_points_along_the_target() -> None:
    target = linear_target(12, 3000, 3, 0)
    x = aligned_genotype(target)
    for i in range(300):
        column = target.W[:, i]
        towards = float(column @ target.a) >= float(column.norm()) / 12**0.5
        assert bool(x[i]) == (towards and bool(column.any()))
    assert target.cosine(target.W @ x.double()) > 0.97


def test_a_power_law_is_recovered() -> None:
    sizes = (2, 4, 8)
    exponent, error, line = theory.power_law(sizes, [[3 * m**2.5, 3 * m**2.5] for m in sizes])
    assert exponent == pytest.approx(2.5)
    assert error == pytest.approx(0, abs=1e-6)
    assert line(16) == pytest.approx(3 * 16**2.5)


@pytest.mark.parametrize("what", ["theorem1", "theorem2", "cost"])
def test_the_experiments_print_and_write_their_tables(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"SIZES": ((2, 2), (4, 40)), "DIMENSIONS": (4, 8), "GENES": (10, 1000), "INPUTS": (2, 3, 4)}
    for name, value in small.items():
        monkeypatch.setattr(theory, name, value)
    monkeypatch.setattr(sys, "argv", ["theory.py", what, "--out", str(tmp_path), "--seeds", "1"])
    theory.main()
    printed = capsys.readouterr().out
    with (tmp_path / f"{what}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["m"] in printed for row in rows)
    if what == "theorem1":
        assert [row["violations"] for row in rows] == ["0", "0"]
    elif what == "theorem2":
        assert rows[1]["n/m = 1"] == "0.00"
        assert float(rows[1]["cos, n = 1,000"]) > 0.8
        assert (tmp_path / "theorem2.png").exists()
    else:
        lived = [float(row["individuals that lived"]) for row in rows]
        assert lived[-1] > lived[0]
        assert "individuals grow as m^(" in printed
        assert (tmp_path / "cost.png").exists()
