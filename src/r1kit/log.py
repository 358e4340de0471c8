"""What a run says while it works: metrics.jsonl, progress, plain lines. Everything here goes to a file or to stderr."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LINE_SECONDS = 5.0  # between progress lines when stderr is not a terminal

_bars: RichProgress | None = None  # the live bars, when there are any: rich allows one display at a time


# -- metrics.jsonl ------------------------------------------------------------------------------------------------

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


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


TIMINGS = "timings.jsonl"
TIMED = ("time/", "tokens_per_second")  # how metrics begin that the clock decides


class MetricsLog:
    """Rows of numbers, one JSON object a line, readable while it grows.

    What the clock decides goes to timings.jsonl beside it, so that equal runs have equal metrics to the byte. Strict
    JSON has no NaN: a number that is not finite is written as "NaN", "Infinity" or "-Infinity"; `read_metrics` gives
    floats back, and timings with their steps.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.files = (path, path.with_name(TIMINGS))
        for file in self.files:
            if file.exists():
                _drop_unfinished_line(file)

    def append(self, row: dict[str, Any]) -> None:
        timed = {name: value for name, value in row.items() if name.startswith(TIMED)}
        _append(self.path, {name: value for name, value in row.items() if name not in timed})
        if timed:
            _append(self.path.with_name(TIMINGS), {"step": row["step"], **timed})


def _append(path: Path, row: dict[str, Any]) -> None:
    line = json.dumps(_encode(row), ensure_ascii=False, allow_nan=False) + "\n"
    with open(path, "a", encoding="utf-8") as handle:
        handle.write(line)


def _complete_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]  # not splitlines: text may hold U+2028


def _drop_unfinished_line(path: Path) -> None:
    """A process killed while writing leaves a line without its end; the next row must not be glued to it."""
    with open(path, "rb+") as handle:
        data = handle.read()
        if not data.endswith(b"\n"):
            handle.truncate(data.rfind(b"\n") + 1)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All complete rows; empty when there is no file. A last line still being written is left out."""
    timings = {row["step"]: row for row in _rows(path.with_name(TIMINGS))}
    return [row | timings.get(row.get("step"), {}) for row in _rows(path)]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [_decode(json.loads(line)) for line in _complete_lines(path)] if path.exists() else []


# -- progress -----------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """One line for the person at the keyboard, on stderr, above the progress bar if there is one."""
    if _bars is not None:
        _bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """0:07, 12:30 or 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def _show(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {f'{v:.4g}' if isinstance(v, float) else v}" for name, v in values.items())


class _Lines:
    """Progress as one plain line every few seconds, for logs."""

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done = description, total, 0
        self.start = self.last = time.monotonic()
        self.shown: dict[str, Any] = {}

    def advance(self, n: int = 1, **shown: Any) -> None:
        self.done += n
        self.shown.update(shown)
        if time.monotonic() - self.last >= LINE_SECONDS:
            self.print()

    def print(self) -> None:
        self.last = time.monotonic()
        elapsed = self.last - self.start
        left = elapsed / self.done * (self.total - self.done) if self.done else math.inf
        times = f"{duration(elapsed)} elapsed"
        if 0 < left < math.inf:
            times += f", {duration(left)} left"
        say(f"{self.description} {self.done}/{self.total}  {times}  {_show(self.shown)}".rstrip())


class _Bar:
    """Progress as a bar with the time left, for people."""

    def __init__(self, bars: RichProgress, description: str, total: int) -> None:
        self.bars, self.shown = bars, {}
        self.task = bars.add_task(description, total=total, shown="")

    def advance(self, n: int = 1, **shown: Any) -> None:
        self.shown.update(shown)
        self.bars.update(self.task, advance=n, shown=_show(self.shown))


@contextmanager
def progress(description: str, total: int) -> Iterator[_Lines | _Bar]:
    """Count `total` pieces of work; call `.advance(n, name=value, ...)` on what this gives. May be nested."""
    global _bars
    if not sys.stderr.isatty():
        lines = _Lines(description, total)
        try:
            yield lines
        finally:
            lines.print()
        return
    if _bars is not None:
        bar = _Bar(_bars, description, total)
        try:
            yield bar
        finally:
            _bars.remove_task(bar.task)
        return
    with _new_bars() as bars:
        _bars = bars
        try:
            yield _Bar(bars, description, total)
        finally:
            _bars = None


def _new_bars() -> RichProgress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = ("{task.description}", BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    last = (TextColumn("eta"), TimeRemainingColumn(), TextColumn("{task.fields[shown]}"))
    return Progress(*columns, *last, console=Console(stderr=True), refresh_per_second=4)
