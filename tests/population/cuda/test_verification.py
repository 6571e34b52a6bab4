"""Whether the CUDA kernels are used: found out once for a GPU, and kept; whatever goes wrong there, PyTorch does it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nne.population.cuda import verification
from nne.population.cuda.verification import TOLERANCE, kept, objection
from nne.population.verification import Check
from nne.training.device import require_memory
from nne.training.errors import UserError

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
    assert Check(0.5, 1.0, 3.0).objection(TOLERANCE) == "it differs from float64 by 5e-01, more than 2e-02"
    assert Check(float("nan"), 1.0, 3.0).objection(TOLERANCE)
    assert Check(1e-3, 3.0, 1.0).objection(TOLERANCE) == "it is slower here: 3e+03 ms against 1e+03 ms"

    def broken(device: torch.device) -> Check:
        raise RuntimeError("an illegal address")

    monkeypatch.setattr(verification, "measure", broken)
    assert objection(GPU) == "an illegal address"


def test_a_gpu_that_is_too_old_or_has_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert verification.missing(GPU) == "the GPU has compute capability 7.5, and it needs 8.0"

    def nothing(device: torch.device) -> None:
        raise UserError("NVRTC, which compiles for the GPU, is not there")

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr("nne.population.cuda.genotypes.load", nothing)
    assert "NVRTC" in (verification.missing(GPU) or "")


def test_what_does_not_fit_a_gpu_says_how_much_would(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"mem_get_info": (2 * 2**30, 8 * 2**30), "memory_reserved": 0, "memory_allocated": 0}
    for name, value in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    right = r"learner.individuals=100 needs 4.0 GiB, and 2.0 GiB are free; set it to at most 50"
    with pytest.raises(UserError, match=right):
        require_memory(4 * 2**30, GPU, "learner.individuals", 100)
