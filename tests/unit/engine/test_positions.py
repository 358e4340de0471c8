"""Prompts and completions that exceed the model's positions are announced by every command that samples."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit.model.reference import resolve_model

WARNING = "together more than the model's 64 positions"


@pytest.fixture(scope="module")
def short_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled model with 64 positions."""
    directory = tmp_path_factory.mktemp("m") / "short"
    shutil.copytree(resolve_model("sprout-base"), directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 64}))
    return str(directory)


def r1kit(directory: Path, *args: str) -> str:
    """Run a command in a directory; return what it says."""
    done = subprocess.run([sys.executable, "-m", "r1kit", *args], capture_output=True, text=True, cwd=directory)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_eval_warns_once(short_model: str, tmp_path: Path) -> None:
    small = ("--prompts", "world:logic", "--limit", "2", "--samples", "1", "--template", "none")
    assert r1kit(tmp_path, "eval", short_model, *small, "--max-completion-length", "60").count(WARNING) == 1


@pytest.mark.slow
def test_samples_end_with_the_positions(short_model: str, tmp_path: Path) -> None:
    said = r1kit(tmp_path, "sample", short_model, "1 + 1 = ?", "-n", "2", "--template", "none")
    assert re.findall(r"of the model's 64 positions: completions end after \d\d tokens", said)


@pytest.mark.slow
def test_long_question_is_named(short_model: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("question,answer\nWhat is 1?,1\n" + "Is 2 a number? " * 20 + ",1\n")
    printed = r1kit(tmp_path, "eval", short_model, "--prompts", str(tmp_path / "p.csv"), "--max-completion-length", "4")
    assert WARNING in printed and "the longest prompt has" in printed
