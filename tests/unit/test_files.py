"""Atomic writes, published directories and manifests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit import files
from r1kit.errors import UserError


def test_write_json_is_strict_and_leaves_no_temporary_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    files.write_json(path, {"x": 1, "é": [None]})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, {"x": float("nan")})
    assert files.read_json(path) == {"x": 1, "é": [None]}
    assert os.listdir(path.parent) == ["a.json"]


def test_read_json_names_the_broken_file(tmp_path: Path) -> None:
    broken = tmp_path / "b.json"
    broken.write_text('{"x": 1,')
    for path in (broken, tmp_path / "absent.json"):
        with pytest.raises(UserError, match=path.name):
            files.read_json(path)


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from r1kit import files
root, k = Path(sys.argv[1]), int(sys.argv[2])
new = root / "new"; new.mkdir(); (new / "f").write_text("new")
events = 0
def hook(event, args):
    global events
    if event in ("open", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
        if events == k: os.kill(os.getpid(), signal.SIGKILL)
        events += 1
sys.addaudithook(hook)
files.write_json(root / "a.json", "new")
files.publish(new, root / "model")
"""


@pytest.mark.slow
def test_killed_writer_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    """Kill it at its k-th open, rename or removal, for every k, while it replaces a file and a directory."""
    states, k = set(), 0
    while True:
        root = tmp_path / str(k)
        (root / "model").mkdir(parents=True)
        (root / "model" / "f").write_text("old")
        files.write_json(root / "a.json", "old")
        exit_code = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(root), str(k)]).returncode
        model = (root / "model" / "f").read_text() if (root / "model").exists() else "absent"
        states.add((files.read_json(root / "a.json"), model))
        if exit_code == 0:
            break
        k += 1
    assert k > 5
    assert states == {("old", "old"), ("new", "old"), ("new", "absent"), ("new", "new")}


def test_publish_replaces_directories_and_cleans_up(tmp_path: Path) -> None:
    for text in ("one", "two"):
        tmp = tmp_path / "tmp"
        (tmp / "deep").mkdir(parents=True)
        (tmp / "deep" / text).write_text(text)
        files.publish(tmp, tmp_path / "model")
    remaining = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert remaining == ["model", "model/deep", "model/deep/two"]


def test_manifest_names_every_damaged_file(tmp_path: Path) -> None:
    for name in ("same", "edited", "shorter", "missing"):
        (tmp_path / name).write_text(name)
    files.write_manifest(tmp_path)
    assert files.find_damage(tmp_path) == []
    (tmp_path / "edited").write_text("EDITED")
    (tmp_path / "shorter").write_text("short")
    (tmp_path / "missing").unlink()
    assert files.find_damage(tmp_path) == [
        "edited is changed",
        "missing is missing",
        "shorter is 5 bytes long instead of 7",
    ]


@pytest.mark.parametrize(("content", "state"), [(None, "missing"), ("{}", "changed"), ('{"files": 1}', "changed")])
def test_broken_manifest_is_damage(tmp_path: Path, content: str | None, state: str) -> None:
    (tmp_path / "f").write_text("f")
    files.write_manifest(tmp_path)
    (tmp_path / files.MANIFEST).unlink()
    if content is not None:
        (tmp_path / files.MANIFEST).write_text(content)
    assert files.find_damage(tmp_path) == [f"manifest.json is {state}"]
