"""A stage's metrics log under the eyes of the watchdogs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1kit.console import say
from r1kit.errors import UserError
from r1kit.metrics.log import MetricsLog, read_metrics
from r1kit.metrics.watchdogs import Alert, History, Severity, look


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
