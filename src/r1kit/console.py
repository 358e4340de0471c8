"""Progress bars and messages for the person at the terminal. Everything here goes to stderr."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


LINE_SECONDS = 5.0  # between progress lines when stderr is not a terminal

_bars: RichProgress | None = None  # the live bars, when there are any: rich allows one display at a time


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
