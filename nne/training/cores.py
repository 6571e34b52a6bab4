"""The cores of this machine, and how they are shared. Imports nothing heavy: this comes before PyTorch."""

import os

import psutil

WAITING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
"""How long OpenMP's threads spin before they give up their core: about 20 microseconds by GCC's library, where the
default is milliseconds, which cost PyTorch's small products ten times their time as soon as others use the cores; and
a millisecond by LLVM's, where it is 200."""


def be_considerate() -> None:
    """Wait as ``WAITING`` says, unless the user has said otherwise; to be called before PyTorch is loaded."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)


def cores() -> int:
    """How many this process may use."""
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1


def share(processes: int) -> None:
    """Have each of some processes that this one will start use its part of the cores, unless the user has said."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(cores() // processes, 1)))
