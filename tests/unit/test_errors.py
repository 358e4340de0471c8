"""Suggestions and imports of optional packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r1kit.errors import UserError, nearest, require


def test_nearest_suggests_similar_names_only() -> None:
    assert nearest("lerning_rate", ["learning_rate", "steps"]) == "learning_rate"
    assert nearest("qqq", ["learning_rate", "steps"]) is None


def test_require_returns_the_module() -> None:
    assert require("json", "hub") is json


def test_require_names_the_command_that_installs_a_missing_package() -> None:
    with pytest.raises(UserError, match=r"no_such_package is not installed: run pip install 'r1kit\[hub\]'"):
        require("no_such_package.part", "hub")


def test_require_does_not_hide_a_broken_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        require("broken_package", "hub")
