"""Locks between processes, on file systems that have them."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class HeldError(OSError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, wait: float = 0) -> Iterator[None]:
    """Hold a lock; where the file system has none, say so and go on.

    Args:
        path: of the lock's own file.
        wait: seconds to wait for another process that holds it; -1: as long as it takes.

    Raises:
        HeldError: another process holds it.
        OSError: the file cannot be made.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise HeldError(str(path)) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        log.warning("there are no file locks in %s: see to it that no two runs write there at once", path.parent)
    try:
        yield
    finally:
        lock.release()
