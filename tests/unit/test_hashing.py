"""Identities, seeds and file hashes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit import hashing

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.dictionaries(st.text(), v), max_leaves=8
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
@pytest.mark.slow
def test_identity_ignores_only_the_order_of_keys(config: dict[str, Any]) -> None:
    backwards = dict(reversed(config.items()))
    assert hashing.identity("rl", config, {}, "1") == hashing.identity("rl", backwards, {}, "1")
    others = [
        ("sft", config, {}, "1"),
        ("rl", {**config, "\0": 0}, {}, "1"),
        ("rl", config, {"a": "b"}, "1"),
        ("rl", config, {}, "2"),
    ]
    assert hashing.identity("rl", config, {}, "1") not in {hashing.identity(*other) for other in others}


def test_identity_and_seed_are_equal_in_another_process() -> None:
    code = (
        "from r1kit.hashing import derive_seed, identity\n"
        "print(identity('rl', {'b': 1, 'a': [1.5, 'é']}, {'m': 'x'}, '1'), derive_seed(0, 'zero'))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [
        hashing.identity("rl", {"a": [1.5, "é"], "b": 1}, {"m": "x"}, "1"),
        str(hashing.derive_seed(0, "zero")),
    ]


@given(st.lists(st.integers() | st.text(), max_size=4), st.lists(st.integers() | st.text(), max_size=4))
@pytest.mark.slow
def test_derived_seeds_have_63_bits_and_distinguish_parts(a: list[int | str], b: list[int | str]) -> None:
    assert 0 <= hashing.derive_seed(*a) < 2**63
    assert (hashing.derive_seed(*a) == hashing.derive_seed(*b)) == (a == b)
    assert hashing.derive_seed("ab", "c") != hashing.derive_seed("a", "bc")
    assert hashing.derive_seed(1) != hashing.derive_seed("1")


def test_tree_hashes_depend_on_names_and_contents_but_not_on_location(tmp_path: Path) -> None:
    def write_tree(name: str, files: dict[str, str]) -> Path:
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / name

    trees = [
        write_tree("a", {"x": "1", "d/y": "2"}),
        write_tree("b", {"d/y": "2", "x": "1", ".lock": "9"}),
        write_tree("c", {"x": "2", "d/y": "1"}),
    ]
    for function in (hashing.hash_tree, hashing.fingerprint):
        a, b, c = map(function, trees)
        assert a == b != c


def test_fingerprint_of_a_large_file_detects_a_changed_tensor(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(hashing.SAMPLED_ABOVE + 1))
    before = hashing.fingerprint(path)
    with open(path, "r+b") as handle:
        handle.seek(5_000_000)
        handle.write(b"\1" * 400_000)
    assert hashing.fingerprint(path) != before
