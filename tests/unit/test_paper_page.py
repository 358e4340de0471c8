"""docs/paper.md matches the recorded results."""

from __future__ import annotations

import subprocess
import sys

from paths import ROOT


def test_page_matches_the_results() -> None:
    """If this fails: python scripts/paper_page.py > docs/paper.md."""
    command = [sys.executable, str(ROOT / "scripts/paper_page.py")]
    printed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout
    assert printed == (ROOT / "docs/paper.md").read_text(encoding="utf-8")
    assert printed.count("**agrees**") >= 9 and "**no clear difference**" in printed
