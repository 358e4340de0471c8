"""Hold a run directory exclusively."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from r1kit.errors import UserError
from r1kit.run_dir import RunDir

# Not filelock: where flock is missing it falls back to a marker file that survives SIGKILL, and older versions
# truncate the file that names the owner.


@contextmanager
def locked(run: RunDir) -> Iterator[None]:
    """Create the directory if needed and lock it. The system releases the lock however the process ends.

    Raises:
        UserError: Another process holds the lock, or the directory contains something other than a run.
    """
    import fcntl

    path = run.path
    is_run = run.lock.exists() or run.recipe.exists()
    if path.exists() and not is_run and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: contains something other than a run; use a new or empty --run-dir")
    path.mkdir(parents=True, exist_ok=True)
    with open(run.lock, "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            raise UserError(f"{path}: in use by {owner}; wait until it ends, or use another --run-dir") from None
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {platform.node()}")
        handle.flush()
        yield
