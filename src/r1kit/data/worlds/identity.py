"""Identify the worlds by the code that generates them: as with a data file, other code means other problems."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import r1kit
from r1kit import hashing
from r1kit.data.worlds import FAMILIES, RECORD_WORLDS, WORLDS, general, repositories

ROOT = Path(r1kit.__file__).parents[1]
PACKAGE = "r1kit.data.worlds"
CORPUS = "corpus:"  # before the name of a corpus


def generated_identity(source: str) -> str | None:
    """Return the SHA-256 of the code behind a source; None if it is not generated here.

    Args:
        source: `world:NAME`, `corpus:NAME` or `bench:sprout`. Any other source is not generated here.
    """
    kind, _, name = source.partition(":")
    if source == "bench:sprout":
        parts = [*FAMILIES]
    elif source.startswith(CORPUS):
        parts = ["corpus", *FAMILIES]
    elif kind == "world" and name in (*WORLDS, *RECORD_WORLDS):
        parts = ["general" if name in general.WORLDS else name.removesuffix("-by-hand")]
    else:
        return None
    return hashlib.sha256(hashing.canonical_json({part: code_sha256(part) for part in parts})).hexdigest()


@cache
def code_sha256(part: str) -> str:
    """Return the SHA-256 of a module of the worlds, of the modules of r1kit.data that it imports, and of its assets."""
    found, open_ = dict[str, str](), [f"{PACKAGE}.{part}"]
    while open_:
        module = open_.pop()
        if module not in found and (path := _path(module)) is not None:
            found[module] = hashing.file_sha256(path)
            open_ += _imports(path)
    if part == repositories.NAME:
        found["assets"] = hashing.hash_tree(repositories.FOLDER)
    return hashlib.sha256(hashing.canonical_json(found)).hexdigest()


def _imports(path: Path) -> Iterator[str]:
    """Yield the names of what a file imports from r1kit.data; not all are modules."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("r1kit.data"):
            yield from (str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names))


def _path(module: str) -> Path | None:
    """Return the file of a module. None for other names and for the package of the worlds, which only lists them."""
    path = ROOT / module.replace(".", "/")
    found = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return found[0] if found and module != PACKAGE else None
