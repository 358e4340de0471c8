"""Read and write rows of JSON Lines, JSON and Parquet files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from r1kit.errors import UserError, nearest
from r1kit.files import write_bytes


class DataError(UserError):
    """A file or row that cannot be used. The message says which, why, and what to do."""


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a .jsonl, .json (a list of objects) or .parquet file in order."""
    if not path.is_file():
        raise DataError(f"{path}: no such file{_near_matches(path)}")
    if path.suffix not in READERS:
        raise DataError(f"{path}: suffix {path.suffix!r}: must be {', '.join(READERS)}")
    return READERS[path.suffix](path)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows atomically and durably."""
    write_bytes(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _object(line, f"{path}, line {number}")


def _object(line: bytes, where: str) -> dict[str, Any]:
    remedy = "each line must be one JSON object in UTF-8: repair or delete this line"
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:  # invalid JSON or UTF-8
        at = getattr(error, "pos", getattr(error, "start", 0))
        fragment = line.decode("utf-8", errors="replace").strip()[max(0, at - 40) : at + 40]
        raise DataError(f"{where}: {error}\n  near: {fragment!r}\n  {remedy}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {type(row).__name__}, not an object: {str(row)[:80]!r}\n  {remedy}")
    return row


def _read_json(path: Path) -> Iterator[dict[str, Any]]:
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: {error}: repair the file, or write one object a line as .jsonl") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: a .json file must hold a list of objects; use .jsonl for one object a line")
    return iter(rows)


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa  # type: ignore[import-untyped]  # has no stubs
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}): write it again") from error


READERS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


def _near_matches(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist either"
    names = sorted(entry.name for entry in path.parent.iterdir())
    close = nearest(path.name, names)
    return f"; did you mean {path.parent / close}?" if close else f"; {path.parent} has no similar name"
