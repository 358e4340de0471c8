"""Messages and progress bars for the person at the terminal, on stderr.

With --quiet only warnings and errors are printed. With --verbose also details (`detail`), each message with the time
of day, and what libraries log.
"""

from __future__ import annotations

import math
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LINE_SECONDS = 5.0  # between progress lines when stderr is not a terminal
HEARTBEAT_SECONDS = 10.0  # a wait is silent this long; the next pauses are twice and four times as long,
HEARTBEAT_LIMIT = 60.0  # and all further ones this long

Verbosity = Literal["quiet", "normal", "verbose"]

_verbosity: Verbosity = "normal"
_silent = False
_bars: RichProgress | None = None  # the live display, if any: rich allows one at a time
_waits: dict[threading.Event, float] = {}  # the current heartbeats with their starts, outermost first


class ProgressBar(Protocol):
    """A progress display of `progress`."""

    def advance(self, n: int = 1, /, **shown: Any) -> None:
        """Count `n` more units as done and show the values."""


def silence() -> None:
    """Print nothing more in this process: another process of the run does."""
    global _silent
    _silent = True


def set_verbosity(verbosity: Verbosity) -> None:
    """Print less or more from now on."""
    global _verbosity
    _verbosity = verbosity
    if verbosity == "verbose":
        import logging

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")


def is_verbose() -> bool:
    """Return whether details are printed."""
    return _verbosity == "verbose"


def say(text: str) -> None:
    """Print a message on stderr, above the progress bars; not with --quiet."""
    if _verbosity != "quiet":
        _print(text)


def warn(text: str) -> None:
    """Print a warning on stderr, also with --quiet."""
    _print(f"warning: {text}")


def complain(error: str) -> None:
    """Print the message of an error on stderr, also with --quiet."""
    _print(error)


def detail(text: str) -> None:
    """Print what helps to find a fault, with --verbose only."""
    if is_verbose():
        _print(text)


def _print(text: str) -> None:
    if _silent:
        return
    if is_verbose():
        text = f"{time.strftime('%H:%M:%S')} {text}"
    if _bars is not None:
        _bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Replace control characters, with which a text could drive the terminal or reverse the order of what is shown."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "\ufffd", text)


def duration(seconds: float) -> str:
    """Format seconds as 0:07, 12:30 or 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def number(value: float, digits: int = 4) -> str:
    """Format a number for people, as 12,340 or 0.01234: all digits before the point, or at least `digits` of them."""
    is_large = isinstance(value, int) or 10 ** (digits - 1) <= abs(value) < math.inf
    return f"{value:,.0f}" if is_large else f"{value:.{digits}g}"


@contextmanager
def heartbeat(doing: str | Callable[[], str]) -> Iterator[None]:
    """Print what a block is doing, and for how long, while it lasts: after 10, 30, 70, 130, ... seconds.

    A block under 10 seconds prints nothing. Of nested blocks, the innermost that has lasted so long prints.

    Args:
        doing: A phrase such as "loading the model", or a function that returns it; called in another thread.
    """
    pauses = chain((HEARTBEAT_SECONDS, 2 * HEARTBEAT_SECONDS, 4 * HEARTBEAT_SECONDS), repeat(HEARTBEAT_LIMIT))

    def text() -> str:
        return doing if isinstance(doing, str) else doing()

    start = time.monotonic()
    if is_verbose():
        detail(text())
    with _beats(pauses, lambda elapsed: say(f"still {text()} ({elapsed})")):
        yield
    if is_verbose():
        detail(f"{text()}: {time.monotonic() - start:.2f} s")


@contextmanager
def _beats(pauses: Iterable[float], beat: Callable[[str], None]) -> Iterator[None]:
    """Call `beat` with the elapsed time after each pause, except while a block inside lasts over 10 seconds."""
    start, done = time.monotonic(), threading.Event()

    def run() -> None:
        for pause in pauses:
            if done.wait(pause):
                return
            now = time.monotonic()
            if not any(begun > start and now - begun >= HEARTBEAT_SECONDS for begun in list(_waits.values())):
                beat(duration(now - start))

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    _waits[done] = start
    try:
        yield
    finally:
        done.set()
        del _waits[done]
        thread.join()


def _format(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {number(v) if isinstance(v, int | float) else v}" for name, v in values.items())


class _Lines:
    """Progress for log files: one plain line every few seconds, also while nothing advances."""

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done = description, total, 0
        self.start = self.last = time.monotonic()
        self.shown: dict[str, Any] = {}

    def advance(self, n: int = 1, /, **shown: Any) -> None:
        self.done += n
        self.shown.update(shown)
        if time.monotonic() - self.last >= LINE_SECONDS:
            self.print()

    def beat(self, elapsed: str) -> None:
        if time.monotonic() - self.last >= HEARTBEAT_SECONDS:
            self.print()

    def print(self) -> None:
        self.last = time.monotonic()
        elapsed = self.last - self.start
        left = elapsed / self.done * (self.total - self.done) if self.done else math.inf
        times = f"{duration(elapsed)} elapsed"
        if 0 < left < math.inf:
            times += f", {duration(left)} left"
        say(f"{self.description} {self.done:,}/{self.total:,}  {times}  {_format(self.shown)}".rstrip())


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
    if _silent or _verbosity == "quiet" or not sys.stderr.isatty():
        lines = _Lines(description, total)
        try:
            with _beats(repeat(HEARTBEAT_SECONDS), lines.beat):
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
