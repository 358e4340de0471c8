"""A recipe file without mistakes in the working directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from good_recipe import GOOD


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(GOOD)
    return tmp_path / "good.toml"
