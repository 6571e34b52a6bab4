"""What this machine has and what works on it: `python scripts/doctor.py [out=FILE.json]`, in under a minute.

Versions, processor, memory, compiler and GPUs; whether the project's own kernels can be had, how far they are from
float64 and how much faster than PyTorch; where data, caches and runs go. One part that fails costs no other. The file
is what to send with a bug report.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import torch
from rich.table import Table

from nne import __version__
from nne.population.cpp import kernel, verification
from nne.population.cuda import verification as cuda_verification
from nne.training import data
from nne.training.arguments import options, script
from nne.training.cores import cores
from nne.training.errors import UserError, first_line
from nne.training.io import cache, compiler, provenance
from nne.training.logging.progress import console
from nne.training.parts import DataConfig

KEYS: dict[str, str | None] = {"out": ""}
Finding = tuple[str, str]


def versions() -> Iterator[Finding]:
    """Of this project and of what results depend on."""
    yield "nne", f"{__version__}, commit {provenance.git_commit() or 'unknown (installed, not a clone)'}"
    yield "packages", ", ".join(f"{name} {version}" for name, version in provenance.versions().items())


def machine() -> Iterator[Finding]:
    """Processor, memory and what PyTorch makes of them."""
    free, total = psutil.virtual_memory().available, psutil.virtual_memory().total
    yield "system", f"{platform.platform()}, Python in {sys.prefix}"
    yield "cores", f"{cores()} for this process, {torch.get_num_threads()} threads of PyTorch"
    yield "PyTorch's instructions", torch.backends.cpu.get_cpu_capability()
    yield "memory", f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def cpp_kernel() -> Iterator[Finding]:
    """The C++ kernel: compiled, right, and how fast."""
    command = compiler.compiler()
    if command:
        told = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60).stdout
        yield "compiler", told.partition("\n")[0]
    missing = kernel.load()
    if missing:
        yield "C++ kernel", f"not to be had, PyTorch takes its place: {missing}"
        return
    check = verification.measure(torch.float32)
    faster = check.torch_seconds / check.kernel_seconds
    yield "C++ kernel", f"compiled for {kernel.instructions()}, {faster:.1f} times as fast as PyTorch's float32"
    allowed = f"allowed: {verification.TOLERANCE:g}"
    yield "its error", f"{check.error:.1e} of the largest logit or reward in float64 ({allowed})"
    objection = check.objection(verification.TOLERANCE)
    yield "backend=auto", f"PyTorch: {objection}" if objection else "takes it"


def gpus() -> Iterator[Finding]:
    """Every GPU: its memory, and the CUDA kernels on it."""
    if not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs alone"
        yield "GPU", f"none that PyTorch finds (it is built {built})"
        return
    for index in range(torch.cuda.device_count()):
        device = torch.device(f"cuda:{index}")
        free, total = torch.cuda.mem_get_info(device)
        major, minor = torch.cuda.get_device_capability(device)
        memory = f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
        yield f"GPU {index}", f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}, {memory}"
        why = cuda_verification.missing(device) or cuda_verification.objection(device)
        verdict = f"PyTorch takes their place: {why}" if why else "right, and no slower than PyTorch"
        yield f"CUDA kernels on GPU {index}", verdict


def places() -> Iterator[Finding]:
    """Where data are looked for, and where things are kept."""
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        yield "torchvision", f"cannot be imported ({first_line(error)}): there is no data=emnist and the like"
    else:
        yield "torchvision", torchvision.__version__
    yield "NNE_DATA", os.environ.get("NNE_DATA", "not set")
    images = data.load(DataConfig(download=False), seed=0)
    yield "data=auto", f"{images.name}: {images.note}"
    yield "cache", str(cache.user_cache())
    writable = os.access(Path.cwd(), os.W_OK)
    yield "runs go to", f"{Path.cwd() / 'outputs'}" + ("" if writable else ", which cannot be written to")


PARTS: tuple[Callable[[], Iterator[Finding]], ...] = (versions, machine, cpp_kernel, gpus, places)


def findings() -> dict[str, str]:
    """All of it; a part that fails says so in its place."""
    result: dict[str, str] = {}
    for part in PARTS:
        try:
            result |= dict(part())
        except (UserError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            result[part.__name__.replace("_", " ")] = f"failed: {first_line(error)}"
    return result


def doctor(out: Path | None) -> None:
    """Print, and write what was asked for.

    Raises:
        UserError: the file cannot be written.
    """
    result = findings()
    rows = Table("what", "found", show_header=False)
    for what, value in result.items():
        rows.add_row(what, value)
    console.print(rows)
    if out:
        try:
            out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(f"out={out} cannot be written ({error.strerror})") from error
        console.print(f"the same is in {out}", soft_wrap=True)


def main() -> int:
    """Parse the command line; the exit code is 2 for a user's error."""

    def work(arguments: list[str]) -> None:
        chosen = options(arguments, KEYS)
        doctor(Path(chosen["out"]) if chosen["out"] else None)

    return script(__doc__ or "", work)
