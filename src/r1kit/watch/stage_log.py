"""The metrics of a stage in memory: one array per metric, eight bytes a value."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from r1kit.metrics.history import is_number
from r1kit.metrics.tail import Tail
from r1kit.run_dir import StageDir

ALERTS = ("alerts", "time/alerts")
MISSING = math.nan


class StageLog:
    """metrics.jsonl and timings.jsonl of a stage, read as they grow."""

    def __init__(self, stage: StageDir) -> None:
        self._tails = (Tail(stage.metrics), Tail(stage.timings))
        self._clear()

    def _clear(self) -> None:
        self.steps = array("d")
        self.last: dict[str, Any] = {}  # the newest row
        self.alerts: dict[float, dict[str, Any]] = {}  # step -> what its rows say under ALERTS
        self.not_finite: dict[str, tuple[float, int]] = {}  # metric -> (first step, number of steps)
        self._at: dict[float, int] = {}  # step -> index in `steps`
        self._columns: dict[str, array[float]] = {}  # may be shorter than `steps`

    @property
    def damaged(self) -> int:
        """Lines that are no JSON objects."""
        return sum(tail.damaged for tail in self._tails)

    def refresh(self) -> bool:
        """Read what was added, or all again if a resumed run truncated a log. Return whether anything changed."""
        rewritten = [tail.rewind_if_rewritten() for tail in self._tails]
        if any(rewritten):
            self._clear()
            for tail in self._tails:
                tail.rewind()
        changed = any(rewritten)
        for tail in self._tails:
            for row in tail.rows():
                changed = True
                if is_number(row.get("step")):
                    self._add(row)
        return changed

    def _add(self, row: Mapping[str, Any]) -> None:
        """Store a row. Of a step logged twice, by a resumed run, the later values count."""
        step = row["step"]
        if (at := self._at.get(step)) is None:
            at = self._at[step] = len(self.steps)
            self.steps.append(step)
        if step >= self.last.get("step", -math.inf):
            self.last = {**self.last, **row} if step == self.last.get("step") else dict(row)
        for name, value in row.items():
            if name in ALERTS:
                self.alerts.setdefault(step, {})[name] = value
            elif is_number(value) and name != "step":
                self._set(name, at, float(value))
            elif value in ("NaN", "Infinity", "-Infinity") or (isinstance(value, float) and not math.isfinite(value)):
                first, count = self.not_finite.get(name, (step, 0))
                self.not_finite[name] = (first, count + 1)

    def _set(self, name: str, at: int, value: float) -> None:
        column = self._columns.setdefault(name, array("d"))
        if len(column) <= at:
            column.extend([MISSING] * (at + 1 - len(column)))
        column[at] = value

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics."""
        return list(self._columns)

    def points(self, metric: str) -> list[tuple[float, float]]:
        """Return (step, value) of a metric, by step."""
        pairs = zip(self.steps, self._columns[metric], strict=False)
        return sorted((step, value) for step, value in pairs if not math.isnan(value))

    def rows(self, prefix: str) -> Iterator[dict[str, float]]:
        """Yield the metrics with a prefix, one row per step in which there are any."""
        chosen = {name: column for name, column in self._columns.items() if name.startswith(prefix)}
        for step in sorted(self._at):
            at = self._at[step]
            values = {name: column[at] for name, column in chosen.items() if at < len(column)}
            known = {name: value for name, value in values.items() if not math.isnan(value)}
            if known:
                yield {"step": step, **known}

    def marked_rows(self) -> tuple[dict[str, Any], ...]:
        """Return the rows that the report's header and warnings read: those with alerts, and the newest one."""
        rows = [{"step": step, **alerts} for step, alerts in sorted(self.alerts.items()) if step != self.last["step"]]
        return (*rows, self.last) if self.last else ()
