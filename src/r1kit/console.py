"""Messages and progress bars for the person at the terminal, on stderr."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LINE_SECONDS = 5.0  # between progress lines when stderr is not a terminal

_bars: RichProgress | None = None  # the live display, if any: rich allows one at a time


class ProgressBar(Protocol):
    """A progress display of `progress`."""

    def advance(self, n: int = 1, /, **shown: Any) -> None:
        """Count `n` more units as done and show the values."""


def say(text: str) -> None:
    """Print a message on stderr, above the progress bars."""
    if _bars is not None:
        _bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Format seconds as 0:07, 12:30 or 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def _format(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {f'{v:.4g}' if isinstance(v, float) else v}" for name, v in values.items())


class _Lines:
    """Progress for log files: one plain line every few seconds."""

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done = description, total, 0
        self.start = self.last = time.monotonic()
        self.shown: dict[str, Any] = {}

    def advance(self, n: int = 1, /, **shown: Any) -> None:
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
        say(f"{self.description} {self.done}/{self.total}  {times}  {_format(self.shown)}".rstrip())


class _Bar:
    """Progress for a terminal: a bar with the remaining time."""

    def __init__(self, bars: RichProgress, description: str, total: int) -> None:
        self.bars = bars
        self.shown: dict[str, Any] = {}
        self.task = bars.add_task(description, total=total, shown="")

    def advance(self, n: int = 1, /, **shown: Any) -> None:
        self.shown.update(shown)
        self.bars.update(self.task, advance=n, shown=_format(self.shown))


@contextmanager
def progress(description: str, total: int) -> Iterator[ProgressBar]:
    """Show progress towards `total` units: call `.advance(n, name=value, ...)` on the yielded bar. May be nested."""
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
