"""Where the tests find the repository and the public data sets next to it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"  # absent in an ordinary clone: tests that read it are skipped there
