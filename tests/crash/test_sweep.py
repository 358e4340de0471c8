"""A small sweep; `make crashtest N=100` runs a large one. It forks, so it needs a process with one thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SWEEP = Path(__file__).with_name("sweep.py")


AHEAD = ("--set", "stage.zero.rollouts_ahead=1")


@pytest.mark.parametrize(
    ("by", "n", "changes"),
    [
        ("kill", 5, ()),
        ("kill", 3, AHEAD),
        pytest.param("stop", 2, (), marks=pytest.mark.long),
        pytest.param("stop", 3, AHEAD, marks=pytest.mark.long),
    ],
)
def test_disturbed_runs_are_identical_to_undisturbed_ones(
    tmp_path: Path, by: str, n: int, changes: tuple[str, ...]
) -> None:
    command = [sys.executable, SWEEP, "-n", str(n), "--by", by, "--world", tmp_path, *changes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"crashtest: {n}/{n} identical"
