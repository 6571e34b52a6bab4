"""Which device and precision a run computes in."""

import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from torch import Tensor

from nne.training.distributed import Workers, init_distributed
from nne.training.errors import require


@dataclass(frozen=True)
class Compute:
    """A device, the precision of the big products on it, what makes them, and with whom.

    ``backend``: PyTorch, or the kernels in C++ or CUDA. ``instructions``: what the C++ kernel was compiled for.
    ``began_with``: the backend of a run that is resumed.
    """

    device: torch.device
    dtype: torch.dtype
    backend: str = "torch"
    instructions: str = ""
    began_with: str | None = None
    workers: Workers = field(default_factory=Workers)

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def description(self) -> str:
        """The hardware, in words."""
        alone = self.workers.count == 1
        return self._hardware + ("" if alone else f", {self.workers.count} workers")

    @property
    def _hardware(self) -> str:
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            name = torch.cuda.get_device_name(self.device)
            return f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free, {self.dtype_name}, {self.backend}"
        return f"{_cpu_name()}, {torch.get_num_threads()} threads, {self.dtype_name}, {self.backend}"


def choose(device: str, dtype: str, job: int = 0) -> Compute:
    """Resolve ``auto``: a GPU if there is one, and bfloat16 where the hardware multiplies it natively.

    Args:
        job: the number of the job in a sweep; jobs take the GPUs in turn, as the workers of one run do.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    there = torch.cuda.is_available()
    require(device != "cuda" or there, "device=cuda, but PyTorch finds no CUDA GPU here; use device=cpu or device=auto")
    chosen = torch.device("cpu")
    if there and device != "cpu":
        count = torch.cuda.device_count()
        index = int(os.environ.get("LOCAL_RANK", job % count))
        few = f"there are {count} GPUs here, and torchrun starts worker number {index + 1}"
        require(index < count, f"{few}; use --nproc-per-node={count}, or device=cpu")
        chosen = torch.device(f"cuda:{index}")
        torch.cuda.set_device(chosen)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is bit-reproducible only with this
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # every weight is written
        torch.backends.cudnn.allow_tf32 = False  # float32 is float32
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    if dtype == "auto":
        dtype = "bfloat16" if _multiplies_bfloat16(chosen) else "float32"
    return Compute(chosen, getattr(torch, dtype), workers=init_distributed())


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; a GPU is not waited for."""
    pinned = device.type == "cuda" and tensor.is_cpu
    return tensor.pin_memory().to(device, non_blocking=True) if pinned else tensor.to(device)


def peak_memory(device: torch.device) -> float:
    """The most memory that this process has held, in GiB: on the GPU if the run is on one, else in RAM."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def total_memory(device: torch.device) -> int:
    """Bytes of memory that the device has (not what is free: how work is cut must not change from run to run)."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return int(psutil.virtual_memory().total)


def free_memory(device: torch.device) -> int:
    """Bytes that can be had now without swapping; only to refuse what cannot fit, never to decide how to compute."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch's own, to be had
        return torch.cuda.mem_get_info(device)[0] + cached
    return int(psutil.virtual_memory().available)


def require_memory(needed: int, device: torch.device, key: str, value: int) -> None:
    """Refuse what does not fit: ``needed`` bytes, which grow in proportion to the configuration's ``key=value``.

    Raises:
        UserError: there is less free; it says how much ``key`` could be.
    """
    free = free_memory(device)
    sizes = f"needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"
    require(needed <= free, f"{key}={value} {sizes}; set it to at most {value * free // needed}")


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0] if names else platform.machine()}"


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
