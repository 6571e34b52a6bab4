"""C++ compiled for this machine the first time it is wanted, where there is a compiler; kept in the user's cache."""

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
from ctypes import CDLL
from functools import cache
from pathlib import Path

from training.cache import user_cache
from training.errors import UserError

log = logging.getLogger(__name__)

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ["-std=c++20", "-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread"]
QUIET = ["-Wno-psabi", "-Wno-ignored-attributes"]
TIMEOUT = 300  # seconds


@cache
def load(source: Path) -> CDLL:
    """The library made from one source file.

    Raises:
        UserError: there is no compiler, or it fails.
    """
    command = compiler()
    if command is None:
        raise UserError(f"there is no C++ compiler (no {', '.join(COMPILERS)})")
    code, start = source.read_bytes(), time.perf_counter()
    name = hashlib.sha256(b"\0".join([code, " ".join([command, *FLAGS]).encode(), _processor()])).hexdigest()[:16]
    library = user_cache() / "kernels" / f"{source.stem}-{name}.so"
    try:
        if not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=library.parent) as folder:
                made = Path(folder) / library.name
                line = [command, *FLAGS, *QUIET, "-o", str(made), str(source)]
                subprocess.run(line, check=True, capture_output=True, text=True, timeout=TIMEOUT)
                made.replace(library)
            log.info("compiled %s for this machine in %.0f s", source.name, time.perf_counter() - start)
        return CDLL(str(library))
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["no message"])[0]
        raise UserError(f"{command} could not compile {source.name} ({said})") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{source.name} could not be compiled ({error})") from error


def compiler() -> str | None:
    """The C++ compiler of this machine: ``$CXX``, or one that is usual."""
    return os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)


def _processor() -> bytes:
    """What the code is made for: homes are shared between machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    return "\n".join([platform.platform(), platform.processor(), *told]).encode()
