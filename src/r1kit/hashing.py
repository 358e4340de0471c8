"""Identities, hashes and seeds: everything that turns content into a number. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SAMPLED_ABOVE = 16 << 20  # bytes; `fingerprint` reads larger files in samples
CHUNKS, CHUNK = 64, 64 << 10


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def identity(kind: str, config: Mapping[str, Any], parents: Mapping[str, str], version: str) -> str:
    """SHA-256 of all that decides an artifact's content. Equal inputs give equal identities on any machine."""
    return hashlib.sha256(_canonical([kind, config, parents, version])).hexdigest()


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed from names and numbers: the one way randomness is derived. `1` and `"1"` differ."""
    return int.from_bytes(hashlib.sha256(_canonical(parts)).digest()[:8], "big") >> 1


def _files(root: Path) -> list[Path]:
    """Regular files under `root` in a fixed order; names that start with a dot are not content."""
    found = (path for path in root.rglob("*") if path.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def file_sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def manifest(root: Path, suffix: str = "") -> dict[str, str]:
    """Relative path -> SHA-256 of every file under `root` whose name ends in `suffix`."""
    return {p.relative_to(root).as_posix(): file_sha256(p) for p in _files(root) if p.name.endswith(suffix)}


def hash_tree(root: Path, suffix: str = "") -> str:
    """One SHA-256 over names and contents of a directory."""
    return hashlib.sha256(_canonical(manifest(root, suffix))).hexdigest()


def _sampled_sha256(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as handle:
        for i in range(CHUNKS):
            handle.seek((size - CHUNK) * i // (CHUNKS - 1))
            digest.update(handle.read(CHUNK))
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Tells one model or data set from another in milliseconds.

    Files up to 16 MiB count whole, larger ones by size and 64 evenly spaced blocks of 64 KiB: two fine-tunes of one
    base differ in that, though a single changed byte may not show.
    """
    root, files = (path.parent, [path]) if path.is_file() else (path, _files(path))
    seen = {
        file.relative_to(root).as_posix(): _sampled_sha256(file)
        if file.stat().st_size > SAMPLED_ABOVE
        else file_sha256(file)
        for file in files
    }
    return hashlib.sha256(_canonical(seen)).hexdigest()
