"""The project's folder in the user's cache: data sets that were downloaded, kernels that were compiled."""

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path


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


def _temporary() -> Path:
    """What is loaded from here is code, so it must be nobody else's."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"nne-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    private = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    return folder if private and not folder.is_symlink() else Path(tempfile.mkdtemp(prefix="nne-"))
