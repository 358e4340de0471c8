"""The planned peak is what a process measures. `benchmarks/memory_plan.py` has stages of every kind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit import plan
from r1kit.recipe import load_recipe

RECIPE = """
name = "p"
device = "cpu"
dtype = "float32"
[stage.s]
kind = "pretrain"
model = "sprout-base"
context_length = 256
sequences_per_step = 64
steps = 2
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the formula is for glibc's allocator")
def test_planned_peak_is_within_15_percent_of_the_measured_one(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(RECIPE)
    planned = plan.make_plan(load_recipe(str(tmp_path / "p.toml"))).stages[0].memory["peak"]
    code = (
        "import sys\nfrom pathlib import Path\nfrom r1kit import cli\n"
        "sys.argv = ['r1kit', 'run', 'p.toml', '--run-dir', 'run']\n"
        "try: cli.main()\nexcept SystemExit as done: assert not done.code\n"
        "print(Path('/proc/self/status').read_text())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)  # of the largest resident set
    assert peak is not None, done.stderr
    assert planned == pytest.approx(1024 * int(peak[1]), rel=0.15)
