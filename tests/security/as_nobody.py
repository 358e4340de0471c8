"""Run a command as uid nobody: `python as_nobody.py COMMAND ...`, as root, on Linux.

The uid nobody cannot enter root's home. If the interpreter lies there, a mount namespace makes it reachable.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from r1kit.rewards.sandbox.native import kernel, namespaces

REPOSITORY = Path(__file__).resolve().parents[2]


def blocked_at(path: str) -> str | None:
    """Return the topmost directory above `path` that not every user may enter."""
    parents = [*reversed(Path(path).parents)]
    return next((str(parent) for parent in parents if not parent.stat().st_mode & 0o001), None)


def open_up(paths: list[str]) -> None:
    """In a new mount namespace, replace each blocking directory by one that holds only these paths."""
    kernel.call("unshare", kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    hidden = {path: os.open(path, os.O_PATH) for path in paths if blocked_at(path)}
    for directory in {blocked_at(path) for path in hidden}:
        kernel.mount("open", directory, "tmpfs", 0, "mode=755")
    for path, handle in hidden.items():
        os.makedirs(path)
        kernel.mount(f"/proc/self/fd/{handle}", path, None, kernel.MS_BIND | kernel.MS_REC)
        os.close(handle)


if __name__ == "__main__":
    open_up([*dict.fromkeys(map(os.path.realpath, (sys.base_prefix, sys.prefix, REPOSITORY)))])
    namespaces.become_nobody()
    os.execvp(sys.argv[1], sys.argv[1:])
