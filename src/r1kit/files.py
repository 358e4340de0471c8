"""Durable, atomic writes: write aside, fsync, rename, fsync the parent. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1kit.errors import UserError
from r1kit.hashing import _canonical, file_sha256

SEAL = "manifest.json"  # what `seal` writes beside the files it vouches for


def fsync(path: Path) -> None:
    """Make a file's content, or a directory's list of names, survive a power loss."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file so that after a crash it holds the old content or the new, never part of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError:  # a full disk: give back what there is of it
        aside.unlink(missing_ok=True)
        raise
    os.replace(aside, path)
    fsync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Strict JSON, atomically: NaN and infinity are refused with ValueError."""
    write_bytes(path, _json_file(value))


def _json_file(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Parsed content; UserError names the file when it is absent or broken."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def sync_tree(root: Path) -> None:
    """Make everything under an existing directory durable."""
    for path in (*root.rglob("*"), root):
        fsync(path)


def publish(tmp: Path, final: Path) -> None:
    """Make the finished directory `tmp` appear as `final`, all at once and durably.

    An existing `final` is moved aside first, so it exists whole or not at all at every instant.
    """
    sync_tree(tmp)
    old = final.with_name(f".{final.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if final.exists():
        os.rename(final, old)
    os.rename(tmp, final)
    fsync(final.parent)
    if old.exists():
        shutil.rmtree(old)


def seal(root: Path) -> None:
    """Write down size and SHA-256 of every file under `root`, and a checksum of that list itself."""
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.name != SEAL)
    files = {p.relative_to(root).as_posix(): {"bytes": p.stat().st_size, "sha256": file_sha256(p)} for p in paths}
    write_bytes(root / SEAL, _seal_of(files))


def _seal_of(files: Mapping[str, Any]) -> bytes:
    return _json_file({"files": files, "sha256": hashlib.sha256(_canonical(files)).hexdigest()})


def damage(root: Path) -> list[str]:
    """What in a sealed directory is not as it was written, one phrase a file; empty when it is whole."""
    try:
        files: dict[str, Any] = read_json(root / SEAL)["files"]
        intact = (root / SEAL).read_bytes() == _seal_of(files)
    except (UserError, OSError, KeyError, TypeError, ValueError):
        intact = False
    if not intact:
        return [f"{SEAL} is {'changed' if (root / SEAL).exists() else 'missing'}"]
    found = ((name, _difference(root / name, **known)) for name, known in files.items())
    return [f"{name} is {difference}" for name, difference in found if difference]


def _difference(path: Path, *, bytes: int, sha256: str) -> str | None:
    if not path.is_file():
        return "missing"
    try:
        if (size := path.stat().st_size) != bytes:
            return f"{size} bytes long instead of {bytes}"
        return None if file_sha256(path) == sha256 else "changed"
    except OSError as error:  # a bad sector
        return f"unreadable ({error.strerror})"
