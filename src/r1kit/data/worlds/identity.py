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
GENERATED = ("world:", CORPUS, "bench:sprout")  # how the sources begin that have an identity here
# Code of the time when identities did not depend on it. A world of this code adds nothing to an identity, so that
# stages of older runs stay finished.
FIRST = {
    "arithmetic": "3b87c45ded0a6b62539def122b0c3061a887c0cf6d19e0127c4ade4f204b28c5",
    "countdown": "53cc27adec2e378cd46b277346b3c1c3d759eeb7542e4d8184bb6f348f2486e6",
    "logic": "fe91741e3fbbd4d169e952ba384902fcd5e75abe40657d641cb25370cd85227b",
    "bignum": "594f11ee0168c71eb35d6a5b2a35ecabafe045a28196c964906014c17f662065",
    "guess": "c34ae4015213b36635c921b179251cb8a324e9ea8aabf3a1c72515358c302deb",
    "general": "c79479171c6b2908cd26a9ad69a3324352b73fadbb4218969b1a5041a5ed0c21",
    "instructions": "ef530ae35f30d161b30ddef7145f3b20334eb83fb825ad757ef8846d7cc3825a",
    "repositories": "985f1c5d77434bf3aa97f080df8fc92b11829cdbdf83744b3f44bbb0b6e31111",
    "corpus": "9287e862cbe3941e8d2469e1547d48d1bccedd0dbb68d7ba82eb35cbeb7d8efb",
}


def generated_identity(source: str) -> str | None:
    """Return the SHA-256 of the code behind a source; None if it is not generated here, or still by the first code.

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
    hashes = {part: code_sha256(part) for part in parts}
    if all(FIRST.get(part) == sha for part, sha in hashes.items()):
        return None
    return hashlib.sha256(hashing.canonical_json(hashes)).hexdigest()


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
