"""The C++ kernel for other processors: every level of x86-64 that this one can run, and aarch64 by emulation."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from nne.training.io.compiler import FLAGS, QUIET
from tests.conftest import HANGS, REPOSITORY, SMALL, Command, needs_compiler, summary

LEVELS = {
    "x86-64": "128-bit vectors without FMA",
    "x86-64-v2": "128-bit vectors without FMA",
    "x86-64-v3": "AVX2 with FMA",
    "x86-64-v4": "AVX-512 with FMA",
}
NEEDS = {"x86-64": "sse2", "x86-64-v2": "sse4_2", "x86-64-v3": "fma", "x86-64-v4": "avx512vl"}
FINGERPRINT = {True: "f5a4930651084b50", False: "697613ebe6bd2fff"}  # with FMA, and without
EVOLVED = "0b32a7255cc627f5"  # of a short run, by processors with FMA
COMPILERS = ("g++", "clang++")
AARCH64 = ("aarch64-linux-gnu-g++", "qemu-aarch64")


def made(compiler: str, out: Path, *flags: str) -> Path:
    """The program that prints the fingerprint."""
    own = [flag for flag in FLAGS if flag not in ("-shared", "-fPIC")]
    source = [
        "-I",
        str(REPOSITORY / "nne" / "population" / "cpp"),
        str(REPOSITORY / "tests" / "population" / "cpp" / "fingerprint.cpp"),
    ]
    subprocess.run([compiler, *own, *QUIET, *flags, *source, "-o", str(out)], check=True, timeout=HANGS)
    return out


def said(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=HANGS).stdout.strip()


def runs(level: str) -> bool:
    """Whether this processor has what a level needs."""
    info = Path("/proc/cpuinfo")
    return platform.machine() == "x86_64" and info.exists() and NEEDS[level] in info.read_text().split()


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_of_x86_64_has_the_bits_of_all_that_have_fma(level: str, compiler: str, tmp_path: Path) -> None:
    if not runs(level) or not shutil.which(compiler):
        pytest.skip(f"{compiler} for {level} cannot be tried here")
    program = made(compiler, tmp_path / "fingerprint", f"-march={level}")
    told = LEVELS[level]
    assert said(program) == f"{told}, {FINGERPRINT['with FMA' in told]}"


@pytest.mark.skipif(not all(map(shutil.which, AARCH64)), reason="no cross compiler and emulator for aarch64 here")
def test_aarch64_has_the_same_bits(tmp_path: Path) -> None:
    compiler, emulator = AARCH64
    program = made(compiler, tmp_path / "fingerprint", "-static")
    assert said(emulator, program) == f"NEON with FMA, {FINGERPRINT[True]}"


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(not runs("x86-64-v3"), reason="no processor with AVX2")
def test_a_run_has_the_same_bits_on_every_processor_with_fma(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch and the libraries that it calls take other paths on other processors, too."""
    limits = {
        "least": ("x86-64-v3", "default", "SSE4_2"),
        "avx2": ("x86-64-v3", "avx2", "AVX2"),
        "as it is": ("native", "", ""),
    }
    for name, values in limits.items():
        for variable, value in zip(
            ("NNE_MARCH", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS"), values, strict=True
        ):
            monkeypatch.setenv(variable, value) if value else monkeypatch.delenv(variable)
        done = command("experiment=nne_mnist10", *SMALL, "trainer.max_steps=20", "backend=cpp", f"run_dir={name}")
        assert done.returncode == 0, done.stderr
    result = {name: summary(tmp_path / name) for name in limits}
    assert result["avx2"]["instructions"] == "AVX2 with FMA"
    assert {name: each["state_sha256"][:16] for name, each in result.items()} == dict.fromkeys(limits, EVOLVED)
