"""What a stage has logged, as rows of numbers: its metrics and timings by step, or the results of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from r1kit import files
from r1kit.metrics.log import TIMED, read_metrics
from r1kit.run_dir import StageDir
from r1kit.trackers.base import Row

ALERTS = ("alerts", "time/alerts")  # watchdogs that fired: {name: text}


def rows_after(step: int, stage: StageDir, started: str, is_over: bool) -> list[Row]:
    """Return the rows of the steps after `step`.

    Args:
        step: The last step that is known already, or -1.
        stage: The directory of the stage.
        started: When the stage was started, as ISO 8601.
        is_over: Whether nothing more is written. Otherwise a last row without its timings, which follow it, is left
            out.
    """
    begin = datetime.fromisoformat(started).timestamp()
    if stage.results.is_file():
        return [Row(0, begin, dict(_results(files.read_json(stage.results))))] if step < 0 and is_over else []
    logged = [row for row in read_metrics(stage.metrics) if "step" in row]
    rows, seconds = [], 0.0
    for row in logged:
        seconds += row.get("time/step", 0.0)
        is_complete = is_over or row is not logged[-1] or any(key.startswith(TIMED) for key in row)
        if row["step"] > step and is_complete:
            rows.append(Row(row["step"], begin + seconds, dict(_numbers(row))))
    return rows


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in row.items():
        if key in ALERTS:
            yield from ((f"alerts/{watchdog}", 1.0) for watchdog in value)
        elif _is_number(value) and key != "step":
            yield key, value


def _results(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of every benchmark with the ends of their 95% confidence intervals."""
    for benchmark, summary in results["benchmarks"].items():
        intervals = {**summary.get("intervals", {}), "pass@1": summary.get("ci95")}
        for metric, value in summary.items():
            if _is_number(value):
                yield f"{benchmark}/{metric}", value
                for end, bound in zip(("low", "high"), intervals.get(metric) or (), strict=False):
                    yield f"{benchmark}/{metric}/ci95_{end}", bound


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
