"""The tiny recipe as a fixture."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import write_tiny_recipe

from r1kit.config import RL, Evaluate, Recipe
from r1kit.recipe import load_recipe


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The tiny recipe, in a working directory that holds its files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for kind in (RL, Evaluate):
        monkeypatch.setattr(kind, "module", "tiny_stage")
    write_tiny_recipe(tmp_path)
    return load_recipe("tiny.toml")
