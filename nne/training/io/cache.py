"""The project's folder in the user's cache: data sets that were downloaded, kernels that were compiled, and hidden
layers that were learnt."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from nne.training.io.lock import locked


def user_cache() -> Path:
    """``$XDG_CACHE_HOME/nne``, ``~/.cache/nne``, or what is usual on this system. It need not exist.

    Who has no home, or may not write there, has a folder of their own among the temporary files.
    """
    try:
        usual = user_cache_path("nne", appauthor=False)
    except RuntimeError:  # there is no home
        return _temporary()
    if usual.is_absolute():  # else there is none either, and older versions leave "~" as it is
        there = next(parent for parent in (usual, *usual.parents) if parent.exists())
        if os.access(there, os.W_OK):
            return usual
    return _temporary()


def remembered(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``make`` gave when it was first asked, kept as JSON; one process makes it, and others wait.

    Raises:
        OSError, ValueError: it cannot be kept, or is damaged.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), wait=-1):
            if not path.exists():
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(make()) + "\n")
                partial.replace(path)
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def _temporary() -> Path:
    """What is loaded from here is code, so it must be nobody else's."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"nne-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    private = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    return folder if private and not folder.is_symlink() else Path(tempfile.mkdtemp(prefix="nne-"))
