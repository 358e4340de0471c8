"""metrics.jsonl and timings.jsonl: rows of metrics, one JSON object a line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

TIMINGS = "timings.jsonl"
TIMED = ("time/", "tokens_per_second")  # prefixes of the metrics that depend on the clock

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class MetricsLog:
    """An append-only log of metrics, readable while it grows.

    Metrics that depend on the clock go to timings.jsonl, so that equal runs have byte-identical metrics.jsonl files.
    Strict JSON has no NaN: non-finite numbers are written as "NaN", "Infinity" or "-Infinity". `read_metrics`
    restores floats and merges the timings.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        """`writes` is False in processes that only read the log, while another one writes it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.writes = path, writes
        self.files = (path, path.with_name(TIMINGS))
        for file in self.files:
            if writes and file.exists():
                _drop_unfinished_line(file)

    def append(self, row: dict[str, Any]) -> None:
        """Write one row; it needs a "step" if it has timings."""
        timed = {name: value for name, value in row.items() if name.startswith(TIMED)}
        _append(self.path, {name: value for name, value in row.items() if name not in timed})
        if timed:
            _append(self.path.with_name(TIMINGS), {"step": row["step"], **timed})


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return all complete rows, with timings; empty if the file does not exist."""
    timings = {row["step"]: row for row in _rows(path.with_name(TIMINGS))}
    return [row | timings.get(row.get("step"), {}) for row in _rows(path)]


def _append(path: Path, row: dict[str, Any]) -> None:
    line = json.dumps(_encode(row), ensure_ascii=False, allow_nan=False) + "\n"
    with open(path, "a", encoding="utf-8") as handle:
        handle.write(line)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [_decode(json.loads(line)) for line in _complete_lines(path)] if path.exists() else []


def _complete_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]  # splitlines() would also split at U+2028 inside a text


def _drop_unfinished_line(path: Path) -> None:
    """Remove the partial last line that a process killed while writing leaves behind."""
    with open(path, "rb+") as handle:
        data = handle.read()
        if not data.endswith(b"\n"):
            handle.truncate(data.rfind(b"\n") + 1)


def _encode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value
