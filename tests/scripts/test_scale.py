"""What is said of many workers: measured on real ones, and a cost model that holds together."""

import pytest

import scale
from nne.training.logging.progress import console
from tests.conftest import SMALL


@pytest.mark.slow
def test_processes_are_measured_and_find_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scale, "WORKERS", (1, 2))
    monkeypatch.setattr(scale, "GENERATIONS", 4)
    monkeypatch.setattr(scale, "WARM_UP", 1)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(console, "_width", 200)
    scale.measure(SMALL)
    *_, one, two = (line.split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│"))
    assert (one[1].strip(), one[3].strip(), two[1].strip()) == ("1", "1.00", "2")
    assert one[5] == two[5]


def test_the_cost_model_holds_together() -> None:
    for machine in scale.MACHINES:
        for N in scale.POPULATIONS:
            alone, exchange, memory = scale.generation(N, 1, machine)
            assert alone == pytest.approx(N * machine.network)
            assert exchange == 0
            for workers in scale.DEVICES[1:]:
                compute, exchange, each = scale.generation(N, workers, machine)
                assert alone / workers <= compute <= alone
                assert exchange > 0
                assert each <= memory
