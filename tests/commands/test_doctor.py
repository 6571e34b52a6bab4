"""What `nne doctor` says, and that one part which fails costs no other."""

import json
from pathlib import Path

import pytest
import torch

from nne.commands import doctor
from nne.training import device
from nne.training.errors import UserError
from tests.conftest import call, needs_compiler


@needs_compiler
def test_it_tells_what_there_is_and_writes_it(tmp_path: Path) -> None:
    done = call("doctor", "out=found.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "found.json").read_text())
    assert result["data=auto"].startswith("embedded: ")
    assert "times as fast as PyTorch" in result["C++ kernel"]
    assert float(result["its error"].split()[0]) <= 1e-5
    assert result["cores"].split()[0].isdigit()
    assert all(what in done.stdout for what in ("packages", "memory", "GPU", "cache"))


def test_a_part_that_fails_says_so_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(dtype: torch.dtype) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr("nne.population.cpp.kernel.load", lambda: None)
    monkeypatch.setattr("nne.population.cpp.verification.measure", broken)
    result = doctor.findings()
    assert result["cpp kernel"] == "failed: the disk is full"
    assert {"memory", "GPU", "cache"} <= result.keys()


def test_without_a_kernel_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nne.population.cpp.kernel.load", lambda: "there is no C++ compiler")
    assert "there is no C++ compiler" in dict(doctor.cpp_kernel())["C++ kernel"]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    done = call("doctor", "out=no/such/folder.json", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_more_workers_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="there are 2 GPUs here, and torchrun starts worker number 3; use --nproc"):
        device.choose("auto", "float32")


def test_what_pytorch_has_cached_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"mem_get_info": (10, 80), "memory_reserved": 7, "memory_allocated": 3}
    for name, value in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert device.free_memory(torch.device("cuda:0")) == 14
