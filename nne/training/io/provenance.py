"""Where a result came from: versions, commit, hardware and the command that makes it again."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]  # of a clone
PACKAGES = ["torch", "numpy", "hydra-core", "omegaconf", "tensorboard", "safetensors"]


def versions() -> dict[str, str]:
    """Python and the packages that a result depends on."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def git_commit() -> str | None:
    """The commit this code stands at, with ``-dirty`` where it was changed; ``None`` outside a clone of it."""
    if not (ROOT / ".git").exists():
        return None
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(git, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None


def command() -> str:
    """The command line, as one could type it again; processes that it starts have it from their environment."""
    script = Path(sys.argv[0]).resolve()
    named = script.relative_to(ROOT) if script.is_relative_to(ROOT) else sys.argv[0]
    own = f"nne {script.name.partition(' ')[2]}".strip()
    typed = [f"python {shlex.quote(str(named))}" if script.suffix == ".py" else own]
    return os.environ.get("NNE_COMMAND") or " ".join([*typed, *map(shlex.quote, sys.argv[1:])])


def continued(began: str, overrides: Iterable[str]) -> str:
    """The command that makes a run again that ``began`` so, and was gone on with by a line with some overrides."""
    words = shlex.split(began)
    if not words or {"-m", "--multirun"} & {*words, *shlex.split(command())}:  # a sweep's line says it all
        return command()
    changed = {
        each.partition("=")[0]: each for each in overrides if each.startswith(("trainer.", "device=", "backend="))
    }
    kept = [word for word in words[2:] if word.partition("=")[0] not in changed]
    return " ".join([*words[:2], *map(shlex.quote, [*kept, *changed.values()])])


def program(name: str) -> str:
    """How one of the project's commands is called here: from a clone by its script, else by the command ``nne``."""
    return f"python scripts/{name}.py" if (ROOT / "scripts" / f"{name}.py").exists() else f"nne {name}"


def varying() -> list[str]:
    """The keys that vary in the sweep which this process belongs to, as the command told all of its processes."""
    return os.environ.get("NNE_VARYING", "").split()
