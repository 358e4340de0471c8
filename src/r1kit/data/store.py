"""Read rows of JSON Lines, JSON, CSV, TSV and Parquet files, also compressed by gzip, and write JSON Lines."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from r1kit import integers
from r1kit.errors import UserError
from r1kit.files import write_bytes
from r1kit.synonyms import nearest

STRUCTURED = frozenset({"numbers", "nums", "options", "choices", "messages", "extra"})  # columns of JSON in CSV files
FORMATS = ".jsonl, .json, .csv or .tsv (each also with .gz), or .parquet"
LONGEST_CELL = 1 << 30  # characters; Python's default of 131,072 is too short for reasoning

Row = dict[str, Any]


class DataError(UserError):
    """A file or row that cannot be used. The message says which, why, and what to do."""


def data_suffix(path: Path) -> str:
    """Return the suffix that decides the format of a data file: a key of READERS for readable ones."""
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def read_rows(path: Path, *, may_be_empty: bool = False) -> Iterator[Row]:
    """Yield the rows of a file in order. Its suffix decides the format.

    CSV and TSV files begin with the names of the columns. Cells are text, except for JSON in the columns STRUCTURED;
    empty cells are None.

    Raises:
        DataError: The file does not exist, is not valid, or has no rows and `may_be_empty` is false.
    """
    if (problem := file_problem(path)) is not None:
        raise DataError(f"{path}: {problem}")
    rows = READERS[data_suffix(path)](path)
    return rows if may_be_empty else _at_least_one(rows, path)


def file_problem(path: Path) -> str | None:
    """Return why a path is no readable data file, without opening it; None if there is no reason."""
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir() if data_suffix(entry) in READERS)
        return f"a directory, not a file: name a file in it{f', such as {path / names[0]}' if names else ''}"
    if not path.is_file():
        return f"no such file{_near_matches(path)}"
    if data_suffix(path) not in READERS:
        return f"suffix {data_suffix(path)!r}: must be {FORMATS}"
    return None


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows atomically and durably."""
    write_bytes(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def _at_least_one(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        size = path.stat().st_size
        raise DataError(f"{path}: the file {'has no rows' if size else 'is empty'}")


def _read_jsonl(file: BinaryIO, name: str) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield _object(line, f"{name}, line {number}")


def _object(line: bytes, where: str) -> Row:
    remedy = "each line must be one JSON object in UTF-8: repair or delete this line"
    try:
        row = _loads(line.decode("utf-8-sig"))
    except ValueError as error:  # invalid JSON or UTF-8
        at = getattr(error, "pos", getattr(error, "start", 0))
        fragment = line.decode("utf-8", errors="replace").strip()[max(0, at - 40) : at + 40]
        raise DataError(f"{where}: {error}\n  near: {fragment!r}\n  {remedy}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {type(row).__name__}, not an object: {str(row)[:80]!r}\n  {remedy}")
    return row


def _loads(text: str | bytes) -> Any:
    return json.loads(text, parse_int=integers.read)


def _read_json(file: BinaryIO, name: str) -> Iterator[Row]:
    try:
        rows = _loads(file.read())
    except ValueError as error:
        raise DataError(f"{name}: {error}: repair the file, or write one object a line as .jsonl") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{name}: a .json file must hold a list of objects; use .jsonl for one object a line")
    return iter(rows)


def _read_csv(file: BinaryIO, name: str) -> Iterator[Row]:
    return _read_table(file, name, None)


def _read_tsv(file: BinaryIO, name: str) -> Iterator[Row]:
    return _read_table(file, name, "\t")


def _read_table(file: BinaryIO, name: str, delimiter: str | None) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        header = text.readline()
        if delimiter is None:  # spreadsheets of some countries write semicolons
            delimiter = ";" if ";" in header and "," not in header else ","
        columns = next(csv.reader([header], delimiter=delimiter, strict=True), [])
        if not all(columns) or len(set(columns)) < len(columns):
            raise DataError(f"{name}, line 1: must name every column once, but has {', '.join(columns) or 'no names'}")
        lines = csv.reader(text, delimiter=delimiter, strict=True)
        for cells in lines:
            if cells and len(cells) != len(columns):
                raise DataError(
                    f"{name}, line {lines.line_num + 1}: {len(cells)} cells below a header of {len(columns)}: "
                    "quote cells that contain the delimiter or a line break"
                )
            if cells:
                yield _cells(dict(zip(columns, cells, strict=True)), f"{name}, line {lines.line_num + 1}")
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{name}: not a valid table in UTF-8 ({error}): save it again as CSV in UTF-8") from error


def _cells(row: dict[str, str], where: str) -> Row:
    structured = {key for key, cell in row.items() if cell and key.lower() in STRUCTURED}
    if not structured.isdisjoint({key for key in row if key.lower() in ("numbers", "nums")}):
        structured |= {key for key, cell in row.items() if cell and key.lower() == "target"}  # of countdown
    try:
        return {key: _loads(cell) if key in structured else cell or None for key, cell in row.items()}
    except ValueError as error:
        raise DataError(
            f"{where}: {', '.join(sorted(structured))} must be JSON, such as [3, 5, 7] ({error})"
        ) from error


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa  # type: ignore[import-untyped]  # has no stubs
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}): write it again") from error


STREAM_READERS: dict[str, Callable[[BinaryIO, str], Iterator[Row]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
}


def _read_plain(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        yield from STREAM_READERS[path.suffix](file, str(path))


def _read_gzip(path: Path) -> Iterator[Row]:
    try:
        with gzip.open(path, "rb") as file:
            yield from STREAM_READERS[path.suffixes[-2]](cast(BinaryIO, file), str(path))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a complete gzip file ({error}): compress or download it again") from error


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    **dict.fromkeys(STREAM_READERS, _read_plain),
    ".parquet": _read_parquet,
    **dict.fromkeys((f"{suffix}.gz" for suffix in STREAM_READERS), _read_gzip),
}


def _near_matches(path: Path) -> str:
    start = "" if path.is_absolute() else f" (paths start from the working directory, {Path.cwd()})"
    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist either{start}"
    names = sorted(entry.name for entry in path.parent.iterdir())
    close = nearest(path.name, names)
    return f"; did you mean {path.parent / close}?" if close else f"; there is no similar name{start}"
