"""A small sweep; `make crashtest N=100` runs a large one. It forks, so it needs a process with one thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SWEEP = Path(__file__).with_name("sweep.py")


@pytest.mark.parametrize(("by", "n"), [("kill", 5), pytest.param("stop", 2, marks=pytest.mark.long)])
def test_disturbed_runs_are_identical_to_undisturbed_ones(tmp_path: Path, by: str, n: int) -> None:
    command = [sys.executable, SWEEP, "-n", str(n), "--by", by, "--world", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"crashtest: {n}/{n} identical"
