"""Durable, atomic writes: write to a temporary name, fsync, rename, fsync the parent directory."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import TextIOBase
from pathlib import Path
from typing import Any, TypedDict

from r1kit.errors import UserError
from r1kit.hashing import canonical_json, file_sha256

ATTEMPTS, PAUSE = 20, 0.05  # of a lock: `r1kit runs` shares it for an instant (longer if the machine is busy)
MANIFEST = "manifest.json"  # written by `write_manifest` into the directory that it describes


class Locked(Exception):
    """Another process, which the message names, holds a lock file."""


class FileRecord(TypedDict):
    """The manifest's entry for one file."""

    bytes: int
    sha256: str


def fsync(path: Path) -> None:
    """Make a file's content, or a directory's list of names, survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file atomically: after a crash it holds the old content or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError:  # on a full disk the partial file would take the last space
        temporary.unlink(missing_ok=True)
        raise
    os.replace(temporary, path)
    fsync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace a file with JSON atomically. ValueError for NaN and infinity."""
    write_bytes(path, _json_file(value))


def _json_file(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Parse a JSON file. UserError names the file if it is missing or invalid."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


# Not filelock: where flock is missing it falls back to a marker file that survives SIGKILL, and older versions
# truncate the file that names the owner.


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock file, which names this process. The system releases the lock however the process ends.

    Raises:
        Locked: Another process holds it, and `wait` is False.
    """
    import fcntl

    with open(path, "a+", encoding="utf-8") as handle:
        if wait:
            fcntl.flock(handle, fcntl.LOCK_EX)
        elif not _is_acquired(handle):
            handle.seek(0)
            raise Locked(handle.read().strip() or "another process")
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {platform.node()}")
        handle.flush()
        yield


def _is_acquired(handle: TextIOBase) -> bool:
    """Lock the file exclusively; False if another process keeps it."""
    import fcntl

    for attempt in range(ATTEMPTS):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE * (attempt < ATTEMPTS - 1))
        else:
            return True
    return False


def sync_tree(root: Path) -> None:
    """Make every file and directory under an existing directory durable."""
    for path in (*root.rglob("*"), root):
        fsync(path)


def publish(tmp: Path, final: Path) -> None:
    """Rename the finished directory `tmp` to `final` durably.

    An existing `final` is renamed first: at every instant `final` is complete or absent.
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


def link_or_copy(source: str, target: str) -> None:
    """Make a hard link, or a copy on another file system or one without hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_manifest(root: Path) -> None:
    """Record the size and SHA-256 of every file under `root`, and a checksum of the record itself."""
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.name != MANIFEST)
    records = {p.relative_to(root).as_posix(): FileRecord(bytes=p.stat().st_size, sha256=file_sha256(p)) for p in paths}
    write_bytes(root / MANIFEST, _manifest_file(records))


def _manifest_file(records: Mapping[str, FileRecord]) -> bytes:
    return _json_file({"files": records, "sha256": hashlib.sha256(canonical_json(records)).hexdigest()})


def find_damage(root: Path) -> list[str]:
    """Compare a directory with its manifest. Return one phrase for each damaged file."""
    try:
        records: dict[str, FileRecord] = read_json(root / MANIFEST)["files"]
        is_intact = (root / MANIFEST).read_bytes() == _manifest_file(records)
    except (UserError, OSError, KeyError, TypeError, ValueError):
        is_intact = False
    if not is_intact:
        return [f"{MANIFEST} is {'changed' if (root / MANIFEST).exists() else 'missing'}"]
    differences = ((name, _difference(root / name, record)) for name, record in records.items())
    return [f"{name} is {difference}" for name, difference in differences if difference]


def _difference(path: Path, record: FileRecord) -> str | None:
    if not path.is_file():
        return "missing"
    try:
        if (size := path.stat().st_size) != record["bytes"]:
            return f"{size} bytes long instead of {record['bytes']}"
        return None if file_sha256(path) == record["sha256"] else "changed"
    except OSError as error:  # such as a bad sector
        return f"unreadable ({error.strerror})"
