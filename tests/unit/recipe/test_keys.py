"""`r1kit recipe` lists recipes and keys, and prints recipes that can be run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit.config import STAGE_KINDS, Recipe
from r1kit.recipe import bundled_recipes, keys, load_recipe


def r1kit(*args: str) -> str:
    done = subprocess.run([sys.executable, "-m", "r1kit", "recipe", *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_keys_are_listed_with_types_and_defaults() -> None:
    text = r1kit("--keys")
    assert "stage.NAME (rl)\n" in text and "  num_generations = 16\n      integer, > 1. Group size G: " in text
    assert "  learning_rate = 3e-6\n" in text and "  steps  (required)\n" in text and "Paper: 3e-6 (R1-Zero)." in text
    assert max(map(len, text.splitlines())) <= 100 and "`" not in text and "](" not in text


def test_keys_are_listed_as_json() -> None:
    listed = json.loads(r1kit("--keys", "--json").splitlines()[-1])
    assert {row["key"] for row in listed["recipe"]} == set(Recipe.model_fields)
    for kind, stage in STAGE_KINDS.items():
        assert {row["key"] for row in listed[f"stage.NAME ({kind})"]} == set(stage.model_fields) - {"kind"}
    (row,) = (row for row in listed["stage.NAME (rl)"] if row["key"] == "num_generations")
    assert (row["type"], row["default"], row["range"], row["paper"]) == ("integer", "16", "> 1", "16")
    assert all(set(row) == {"key", "type", "default", "range", "paper", "description"} for row in listed["service"])


def test_required_keys_have_no_default() -> None:
    defaults = {row.key: row.default for row in keys.keys_of(STAGE_KINDS["rl"])}
    assert defaults["prompts"] is None and defaults["epsilon_high"] == "" and defaults["beta"] == "0.001"


def test_bundled_recipes_are_listed() -> None:
    assert r1kit().split() == list(bundled_recipes())
    assert json.loads(r1kit("--json"))["recipes"] == list(bundled_recipes())


@pytest.mark.parametrize("as_json", [False, True])
def test_printed_recipe_is_complete(tmp_path: Path, as_json: bool) -> None:
    expected = load_recipe("sprout-zero", ["stage.zero.steps=7"])
    printed = r1kit("sprout-zero", "--set", "stage.zero.steps=7", *["--json"] * as_json)
    if as_json:
        assert json.loads(printed) == json.loads(expected.model_dump_json())
    else:
        (tmp_path / "again.toml").write_text(printed, encoding="utf-8")
        assert load_recipe(str(tmp_path / "again.toml")) == expected
