"""Bare Python interpreters that import one module of this package and call one of its functions."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]  # the directory that contains the package r1kit
BOOT = (
    "import sys; sys.path.insert(0, {root!r}); from r1kit.rewards.sandbox.{module} import {name}; {name}{arguments!r}"
)
# OpenBLAS and OpenMP get one thread because a process with threads cannot fork safely.
# The fixed hash seed makes the iteration order of sets the same on every run.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}


def command(module: str, name: str, *arguments: object) -> list[str]:
    """Return the command line that calls `r1kit.rewards.sandbox.MODULE.NAME(*arguments)` in a bare interpreter."""
    code = BOOT.format(root=str(ROOT), module=module, name=name, arguments=arguments)
    return [sys.executable, "-P", "-s", "-c", code]
