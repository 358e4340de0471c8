"""A stage's metrics log under the eyes of the watchdogs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from r1kit.artifact import UserError
from r1kit.log import MetricsLog, read_metrics, say
from r1kit.watchdogs import Alert, History, Severity, look

T = TypeVar("T")


class WatchedLog(MetricsLog):
    """Every row is judged, written with what was found, and only then acted on.

    A row's `alerts` are {watchdog: what it saw}; those of watchdogs that read the clock are its `time/alerts`: all
    under time/ differs from run to run. A stage that logs before it saves never keeps what it is stopped for.
    """

    def __init__(self, path: Path, stage: str, dtype: str, severities: Mapping[str, Severity] | None = None) -> None:
        super().__init__(path)
        self.stage, self.dtype, self.severities = stage, dtype, severities or {}
        self.rows: list[dict[str, Any]] | None = None  # read when the first row comes: resuming cuts the file before

    def append(self, row: dict[str, Any]) -> None:
        """UserError when a watchdog stops the run, or the row cannot be written."""
        if self.rows is None:
            self.rows = [row for row in read_metrics(self.path) if "step" in row]
        known = {name for row in self.rows for key in ("alerts", "time/alerts") for name in row.get(key, ())}
        found = look(History([*self.rows, row], self.dtype), self.severities)
        row = row | _alerts(found, "alerts", timed=False) | _alerts(found, "time/alerts", timed=True)
        self._write(row)
        self.rows.append(row)
        for alert in found:
            if alert.watchdog.severity == "warn" and alert.watchdog.name not in known:
                say(f"warning, step {row['step']}: {alert} (Shown once; the report lists every step.)")
        if stops := [alert for alert in found if alert.watchdog.severity == "stop"]:
            raise UserError(self._stopped(row["step"], stops))

    def _write(self, row: dict[str, Any]) -> None:
        try:
            super().append(row)
        except OSError as error:
            raise UserError(
                f"{self.path}: step {row['step']} could not be logged: {error.strerror}. Free some space, then run "
                "the same command again: it goes on from the last checkpoint as if nothing had happened"
            ) from error

    def _stopped(self, step: int, stops: Sequence[Alert]) -> str:
        name = stops[0].watchdog.name
        return "\n".join(
            [f"stage {self.stage}, step {step}, is stopped by its watchdogs:"]
            + [f"  {alert}" for alert in stops]
            + [f'To go on in spite of one: --set stage.{self.stage}.watchdogs.{name}=warn (or "off")']
        )


def _alerts(found: Sequence[Alert], key: str, timed: bool) -> dict[str, dict[str, str]]:
    here = {alert.watchdog.name: alert.text for alert in found if alert.watchdog.timed == timed}
    return {key: here} if here else {}


class Waited(Generic[T]):
    """An iterator that knows for how long its items were waited for. The first is not counted: it sets things up."""

    def __init__(self, items: Iterable[T]) -> None:
        self.items = iter(items)
        self.waited, self.since = 0.0, 0.0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        start = time.monotonic()
        item = next(self.items)
        if self.since:
            self.waited += time.monotonic() - start
        else:
            self.since = time.monotonic()
        return item

    def take_times(self) -> dict[str, float]:
        """Seconds since this was last asked: waited for items, and in all."""
        now = time.monotonic()
        times = {"time/data": self.waited, "time/step": now - self.since}
        self.waited, self.since = 0.0, now
        return times
