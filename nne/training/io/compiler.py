"""C++ compiled for this machine the first time it is wanted, where there is a compiler; kept in the user's cache."""

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

from nne.training.errors import UserError
from nne.training.io.cache import user_cache
from nne.training.io.lock import locked

log = logging.getLogger(__name__)

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ["-std=c++20", "-O3", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread"]
QUIET = ["-Wno-psabi", "-Wno-ignored-attributes"]
TIMEOUT = 300  # seconds


def compiled(source: Path) -> Path:
    """The library made from one source file and the headers beside it.

    ``$CXX`` names the compiler, and ``$NNE_MARCH`` what to compile for, as in ``-march`` (``x86-64-v3``).

    Raises:
        UserError: there is no compiler, or it fails.
    """
    command = compiler()
    if command is None:
        raise UserError(f"there is no C++ compiler (no {', '.join(COMPILERS)})")
    return _compiled(source, command, architecture())


@cache
def _compiled(source: Path, command: str, target: tuple[str, ...]) -> Path:
    line, start = [command, *FLAGS, *target], time.perf_counter()
    try:
        version = subprocess.run([command, "--version"], check=True, capture_output=True, timeout=TIMEOUT).stdout
        code = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
        name = hashlib.sha256(b"\0".join([*code, " ".join(line).encode(), version, _processor()])).hexdigest()[:16]
        library = user_cache() / "kernels" / f"{source.stem}-{name}.so"
        if library.exists():
            return library
        library.parent.mkdir(parents=True, exist_ok=True)
        with locked(library.parent / ".lock", wait=TIMEOUT):
            if library.exists():
                return library
            with tempfile.TemporaryDirectory(dir=library.parent) as folder:
                made = Path(folder) / library.name
                line += [*QUIET, "-o", str(made), str(source)]
                subprocess.run(line, check=True, capture_output=True, text=True, timeout=TIMEOUT)
                made.replace(library)
        log.info("compiled %s for this machine in %.0f s", source.name, time.perf_counter() - start)
        return library
    except subprocess.CalledProcessError as error:
        said = (str(error.stderr or "").strip().splitlines() or ["no message"])[0]
        raise UserError(f"{command} could not compile {source.name} ({said})") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{source.name} could not be compiled ({error})") from error


def compiler() -> str | None:
    """The C++ compiler of this machine: ``$CXX``, or one that is usual."""
    return os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)


def architecture() -> tuple[str, ...]:
    """The flag that says what to compile for: by default this processor, which on aarch64 needs none."""
    wanted = os.environ.get("NNE_MARCH") or ("native" if platform.machine().lower() in ("x86_64", "amd64") else "")
    return (f"-march={wanted}",) if wanted else ()


def _processor() -> bytes:
    """What the code is made for: homes are shared between machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    return "\n".join([platform.platform(), platform.processor(), *told]).encode()
