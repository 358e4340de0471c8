"""Without an optional package, its feature names the command that installs it, and everything else works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit.config import PromptSource
from r1kit.data.problems import load_problems
from r1kit.errors import UserError


@pytest.fixture
def without_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of modules that shadow the optional packages and cannot be imported."""
    for name in ("datasets", "jsonschema_rs", "fastapi"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}', name='{name}')\n")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_hub_dataset_names_the_extra(without_extras: Path) -> None:
    with pytest.raises(UserError, match=r"datasets is not installed: run pip install 'r1kit\[hub\]'"):
        load_problems([PromptSource(source="org/name")])


@pytest.mark.slow
def test_json_verifier_names_the_extra_and_others_grade(without_extras: Path) -> None:
    rows = [
        {"kind": "json", "response": "{}", "constraints": {"type": "object"}},
        {"kind": "choice", "response": "<answer>A</answer>", "gold": "A", "options": ["x", "y"]},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "r1kit", "grade", "--workers", "1"],
        input="".join(json.dumps(row) + "\n" for row in rows),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(without_extras)},
    )
    schema, choice = map(json.loads, done.stdout.splitlines())
    assert schema["score"] is None and "pip install 'r1kit[schema]'" in schema["reason"]
    assert choice["correct"]


@pytest.mark.slow
def test_serve_names_the_extra(without_extras: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(without_extras), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", "r1kit", "serve", "sprout-base"], capture_output=True, text=True, env=env
    )
    assert done.returncode == 2 and "fastapi is not installed: run pip install 'r1kit[serve]'" in done.stderr
