"""Hold a run directory exclusively."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from r1kit import files
from r1kit.errors import UserError
from r1kit.run_dir import RunDir


@contextmanager
def locked(run: RunDir) -> Iterator[None]:
    """Create the directory if needed and lock it.

    Raises:
        UserError: Another process holds the lock, or the directory contains something other than a run.
    """
    path = run.path
    is_run = run.lock.exists() or run.recipe.exists()
    if path.exists() and not is_run and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: contains something other than a run; use a new or empty --run-dir")
    path.mkdir(parents=True, exist_ok=True)
    try:
        with files.locked(run.lock):
            yield
    except files.Locked as owner:
        advice = "wait until it ends, or use another --run-dir (of claims: --runs)"
        raise UserError(f"{path}: in use by {owner}; {advice}") from None
