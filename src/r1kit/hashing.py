"""Identities, file hashes and seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SAMPLED_ABOVE = 16 << 20  # bytes; `fingerprint` samples larger files
CHUNKS, CHUNK = 64, 64 << 10


def canonical_json(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces. ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def identity(kind: str, config: Mapping[str, Any], parents: Mapping[str, str], version: str) -> str:
    """Return the SHA-256 of everything that determines an artifact. It is the same on every machine."""
    return hashlib.sha256(canonical_json([kind, config, parents, version])).hexdigest()


def derive_seed(*parts: str | int) -> int:
    """Return a 63-bit seed from names and numbers. All randomness is derived this way. `1` and `"1"` differ."""
    return int.from_bytes(hashlib.sha256(canonical_json(parts)).digest()[:8], "big") >> 1


def _files(root: Path) -> list[Path]:
    """Return the regular files under `root` in a fixed order, without hidden files and directories."""
    paths = (path for path in root.rglob("*") if path.is_file())
    return sorted(p for p in paths if not any(part.startswith(".") for part in p.relative_to(root).parts))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def manifest(root: Path, suffix: str = "") -> dict[str, str]:
    """Map the relative path of every file under `root` whose name ends in `suffix` to its SHA-256."""
    return {p.relative_to(root).as_posix(): file_sha256(p) for p in _files(root) if p.name.endswith(suffix)}


def hash_tree(root: Path, suffix: str = "") -> str:
    """Return one SHA-256 over the names and contents of the files in a directory."""
    return hashlib.sha256(canonical_json(manifest(root, suffix))).hexdigest()


def _sampled_sha256(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as handle:
        for i in range(CHUNKS):
            handle.seek((size - CHUNK) * i // (CHUNKS - 1))
            digest.update(handle.read(CHUNK))
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Return a hash that distinguishes models and data sets, in milliseconds.

    Files up to 16 MiB are hashed completely, larger ones by size and 64 evenly spaced blocks of 64 KiB. This
    distinguishes two fine-tunes of one base model, but may miss a single changed byte.
    """
    root, files = (path.parent, [path]) if path.is_file() else (path, _files(path))
    hashes = {
        file.relative_to(root).as_posix(): _sampled_sha256(file)
        if file.stat().st_size > SAMPLED_ABOVE
        else file_sha256(file)
        for file in files
    }
    return hashlib.sha256(canonical_json(hashes)).hexdigest()
