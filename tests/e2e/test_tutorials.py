"""Every tutorial runs as it is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from tutorial import blocks, missing, run_tutorial

import r1kit

PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
SECONDS = 900  # of one command


@pytest.fixture
def environment() -> dict[str, str]:
    """A terminal with r1kit installed and without network, where `$R1KIT` is the checkout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    source = str(Path(r1kit.__file__).parents[1])
    fixed = {"PATH": path, "PYTHONPATH": source, "R1KIT": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return {**os.environ, **fixed, "HF_HUB_OFFLINE": "1"}


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tutorial_runs_as_written(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    assert run_tutorial(page, tmp_path, environment, SECONDS) >= 3


def test_there_are_five_tutorials() -> None:
    assert len(PAGES) == 5


def test_runner_reads_files_commands_and_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '# Page\n\n```python title="a.py"\nprint("pass@1  22.8 %")\n```\n\n<!-- test: python3 a.py -->\n'
        "```bash\nr1kit --slow\n```\n\n```text\npass@1 7.5 %\n...\n```\n\n<!-- test: -->\n```bash\nfalse\n```\n"
    )
    assert [block.instead for block in blocks(page)] == [None, "python3 a.py", None, ""]
    assert run_tutorial(page, tmp_path, os.environ, 60) == 1
    page.write_text("```bash\necho yes\n```\n\n```text\nno\n```\n")
    with pytest.raises(AssertionError, match="shows other lines"):
        run_tutorial(page, tmp_path, os.environ, 60)
    page.write_text("```bash\nfalse\ntrue\n```\n")
    with pytest.raises(AssertionError, match="false"):
        run_tutorial(page, tmp_path, os.environ, 60)


def test_runner_ends_what_a_failed_command_leaves_in_the_background(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\nsleep 600 & echo $! > pid\nfalse\n```\n")
    with pytest.raises(AssertionError, match="false"):
        run_tutorial(page, tmp_path, os.environ, 60)
    left = (tmp_path / "pid").read_text().strip()
    state = subprocess.run(["ps", "-o", "stat=", "-p", left], capture_output=True, text=True, check=False).stdout
    assert state.strip()[:1] in {"", "Z"}  # gone, or dead and not reaped yet


def test_output_is_compared_without_numbers() -> None:
    assert missing("took 3:27\n...\npass@1  -1.5 %\n", "pass@1 88 %\ntook 0:05") == []
    assert missing("done\n", "not done\n") == ["done"]
    assert missing("base  sha256 f7be933a8d58  (zero)\n", "base sha256 0123456789ab (zero)\n") == []
    assert missing("base  sha256 f7be933a8d58\n", "base sha256 not set\n") == ["base  sha256 f7be933a8d58"]
