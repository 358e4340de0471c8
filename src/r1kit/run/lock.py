"""Hold a run directory exclusively."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase

from r1kit.errors import UserError
from r1kit.run_dir import RunDir

# Not filelock: where flock is missing it falls back to a marker file that survives SIGKILL, and older versions
# truncate the file that names the owner.
ATTEMPTS, PAUSE = 5, 0.05  # `r1kit runs` holds a shared lock for microseconds, to see whether a run is running


@contextmanager
def locked(run: RunDir) -> Iterator[None]:
    """Create the directory if needed and lock it. The system releases the lock however the process ends.

    Raises:
        UserError: Another process holds the lock, or the directory contains something other than a run.
    """
    path = run.path
    is_run = run.lock.exists() or run.recipe.exists()
    if path.exists() and not is_run and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: contains something other than a run; use a new or empty --run-dir")
    path.mkdir(parents=True, exist_ok=True)
    with open(run.lock, "a+", encoding="utf-8") as handle:
        if not _is_acquired(handle):
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            raise UserError(f"{path}: in use by {owner}; wait until it ends, or use another --run-dir")
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {platform.node()}")
        handle.flush()
        yield


def _is_acquired(handle: TextIOBase) -> bool:
    """Lock the file exclusively; False if another process keeps it."""
    import fcntl

    for attempt in range(ATTEMPTS):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE * (attempt < ATTEMPTS - 1))
        else:
            return True
    return False
