"""The project's folder in the user's cache: data sets that were downloaded, kernels that were compiled."""

import os
from pathlib import Path


def user_cache() -> Path:
    """``$XDG_CACHE_HOME/nne``, or ``~/.cache/nne``. It need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nne"
