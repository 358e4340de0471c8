"""Identities, seeds and atomic writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit import files, hashing
from r1kit.errors import UserError
from r1kit.model.reference import local_model, resolve_model

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.dictionaries(st.text(), v), max_leaves=8
)


@given(st.dictionaries(st.text(), values, max_size=5))
def test_identity_ignores_the_order_of_keys_and_nothing_else(config: dict) -> None:
    backwards = dict(reversed(config.items()))
    assert hashing.identity("rl", config, {}, "1") == hashing.identity("rl", backwards, {}, "1")
    others = [
        ("sft", config, {}, "1"),
        ("rl", {**config, "\0": 0}, {}, "1"),
        ("rl", config, {"a": "b"}, "1"),
        ("rl", config, {}, "2"),
    ]
    assert hashing.identity("rl", config, {}, "1") not in {hashing.identity(*other) for other in others}


def test_identity_is_the_same_in_another_process() -> None:
    code = (
        "from r1kit.hashing import derive_seed, identity\n"
        "print(identity('rl', {'b': 1, 'a': [1.5, 'é']}, {'m': 'x'}, '1'), derive_seed(0, 'zero'))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    ).stdout.split()
    assert out == [
        hashing.identity("rl", {"a": [1.5, "é"], "b": 1}, {"m": "x"}, "1"),
        str(hashing.derive_seed(0, "zero")),
    ]


@given(st.lists(st.integers() | st.text(), max_size=4), st.lists(st.integers() | st.text(), max_size=4))
def test_derived_seeds_are_63_bits_and_tell_parts_apart(a: list, b: list) -> None:
    assert 0 <= hashing.derive_seed(*a) < 2**63
    assert (hashing.derive_seed(*a) == hashing.derive_seed(*b)) == (a == b)
    assert hashing.derive_seed("ab", "c") != hashing.derive_seed("a", "bc")
    assert hashing.derive_seed(1) != hashing.derive_seed("1")


def test_json_is_strict_atomic_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    files.write_json(path, {"x": 1, "é": [None]})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, {"x": float("nan")})
    assert files.read_json(path) == {"x": 1, "é": [None]}
    assert os.listdir(path.parent) == ["a.json"]


def test_unreadable_json_names_the_file(tmp_path: Path) -> None:
    broken = tmp_path / "b.json"
    broken.write_text('{"x": 1,')
    for path in (broken, tmp_path / "absent.json"):
        with pytest.raises(UserError, match=path.name):
            files.read_json(path)


def test_a_writer_killed_at_any_file_operation_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    """Killed at its k-th open, rename or removal, for every k, while it replaces a file and a directory."""
    script = """
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
    seen, k = set(), 0
    while True:
        root = tmp_path / str(k)
        (root / "model").mkdir(parents=True)
        (root / "model" / "f").write_text("old")
        files.write_json(root / "a.json", "old")
        ended = subprocess.run([sys.executable, "-c", script, str(root), str(k)]).returncode
        model = (root / "model" / "f").read_text() if (root / "model").exists() else "absent"
        seen.add((files.read_json(root / "a.json"), model))
        if ended == 0:
            break
        k += 1
    assert k > 5
    assert seen == {("old", "old"), ("new", "old"), ("new", "absent"), ("new", "new")}


def test_publish_replaces_whole_directories_and_cleans_up(tmp_path: Path) -> None:
    for text in ("one", "two"):
        tmp = tmp_path / "tmp"
        (tmp / "deep").mkdir(parents=True)
        (tmp / "deep" / text).write_text(text)
        files.publish(tmp, tmp_path / "model")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "model",
        "model/deep",
        "model/deep/two",
    ]


def test_hashes_see_names_and_contents_but_not_where_the_tree_is(tmp_path: Path) -> None:
    def tree(name: str, files: dict[str, str]) -> Path:
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / name

    trees = [
        tree("a", {"x": "1", "d/y": "2"}),
        tree("b", {"d/y": "2", "x": "1", ".lock": "9"}),
        tree("c", {"x": "2", "d/y": "1"}),
    ]
    for function in (hashing.hash_tree, hashing.fingerprint):
        a, b, c = map(function, trees)
        assert a == b != c


def test_a_fingerprint_of_a_large_file_sees_a_changed_tensor(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(hashing.SAMPLED_ABOVE + 1))
    before = hashing.fingerprint(path)
    with open(path, "r+b") as handle:
        handle.seek(5_000_000)
        handle.write(b"\1" * 400_000)
    assert hashing.fingerprint(path) != before


def test_model_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "runs" / "x" / "stages" / "zero" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    for reference in (str(model), "runs/x/stages/zero", "runs/x/stages/zero/model"):
        assert resolve_model(reference).resolve() == model
    with pytest.raises(UserError, match="did you mean runs/x/stages/zero?"):
        resolve_model("runs/x")
    with pytest.raises(UserError, match="no such model or directory"):
        resolve_model("qwen")
    assert local_model("Qwen/Qwen2.5-1.5B") is None


def test_a_hub_model_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "from r1kit.model.reference import resolve_model; resolve_model('org/none')"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    error = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stderr
    assert "UserError: org/none" in error and "hf download org/none" in error
