"""The metrics log of a stage, checked by the watchdogs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1kit.console import warn
from r1kit.errors import UserError
from r1kit.metrics.history import History
from r1kit.metrics.log import MetricsLog, read_metrics
from r1kit.metrics.watchdogs import Alert, Severity, check


class WatchdogLog(MetricsLog):
    """A metrics log that runs the watchdogs on every row.

    The alerts are written with the row, as {watchdog: text} under "alerts", or under "time/alerts" if the watchdog
    reads the clock. Then warnings are shown, and a watchdog of severity "stop" raises. A stage logs a step before it
    saves a checkpoint, so the step that stopped it is never saved.
    """

    def __init__(
        self,
        path: Path,
        stage: str,
        dtype: str,
        severities: Mapping[str, Severity] | None = None,
        writes: bool = True,
        max_weights_lag: int = 0,
        since: int = 0,
    ) -> None:
        """`since` is the step at which the settings were amended: what was logged until then is not comparable."""
        super().__init__(path, writes)
        self.stage, self.dtype, self.severities = stage, dtype, severities or {}
        self.max_weights_lag, self.since = max_weights_lag, since
        # Read at the first append, because resuming from a checkpoint first truncates the file.
        self.rows: list[dict[str, Any]] | None = None

    def append(self, row: dict[str, Any]) -> None:
        """Write one row with its alerts. UserError if a watchdog stops the stage or the row cannot be written."""
        if not self.writes:
            return
        if self.rows is None:
            rows = [row for row in read_metrics(self.path) if "step" in row]
            self.rows = [row for row in rows if row["step"] > self.since or not self.since]
        known = {name for row in self.rows for key in ("alerts", "time/alerts") for name in row.get(key, ())}
        alerts = check(History([*self.rows, row], self.dtype, self.max_weights_lag), self.severities)
        row = row | _as_metric("alerts", alerts, timed=False) | _as_metric("time/alerts", alerts, timed=True)
        self._write(row)
        self.rows.append(row)
        for alert in alerts:
            if alert.watchdog.severity == "warn" and alert.watchdog.name not in known:
                warn(f"step {row['step']}: {alert} (Shown once; the report lists every step.)")
        if stops := [alert for alert in alerts if alert.watchdog.severity == "stop"]:
            raise UserError(self._stop_message(row["step"], stops))

    def _write(self, row: dict[str, Any]) -> None:
        try:
            super().append(row)
        except OSError as error:
            raise UserError(
                f"{self.path}: step {row['step']} could not be logged: {error.strerror}. Free disk space, then run "
                "the same command again: it resumes from the last checkpoint with identical results"
            ) from error

    def _stop_message(self, step: int, stops: Sequence[Alert]) -> str:
        name = stops[0].watchdog.name
        return "\n".join(
            [f"stage {self.stage}, step {step}, is stopped by its watchdogs:"]
            + [f"  {alert}" for alert in stops]
            + [f'To continue regardless: --set stage.{self.stage}.watchdogs.{name}=warn (or "off")']
        )


def _as_metric(key: str, alerts: Sequence[Alert], timed: bool) -> dict[str, dict[str, str]]:
    texts = {alert.watchdog.name: alert.text for alert in alerts if alert.watchdog.timed == timed}
    return {key: texts} if texts else {}
