"""Whether the CUDA kernels are used: found out once for a GPU, and kept; whatever goes wrong there, PyTorch does it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nne.population.cuda import verification
from nne.population.cuda.verification import Check, kept, objection

GPU = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(name="a GPU", total_memory=2**36)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(verification, "user_cache", lambda: tmp_path)
    objection.cache_clear()


def test_it_is_found_out_once_and_read_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(device: torch.device) -> Check:
        measured.append(device)
        return Check(1e-3, 1.0, 3.0)

    monkeypatch.setattr(verification, "measure", measure)
    for _ in range(2):
        assert objection(GPU) is None
        objection.cache_clear()  # as in another process
    assert measured == [GPU]
    kept(GPU).write_text("{")
    assert "cannot be kept" in (objection(GPU) or "")


def test_another_gpu_or_version_is_found_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept(GPU)
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert kept(GPU) != first


def test_wrong_slow_or_broken_kernels_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Check(0.5, 1.0, 3.0).objection == "it differs from float64 by 5e-01, more than 2e-02"
    assert Check(float("nan"), 1.0, 3.0).objection
    assert Check(1e-3, 3.0, 1.0).objection == "it is slower here: 3.00 ms against 1.00 ms"

    def broken(device: torch.device) -> Check:
        raise RuntimeError("an illegal address")

    monkeypatch.setattr(verification, "measure", broken)
    assert objection(GPU) == "an illegal address"
