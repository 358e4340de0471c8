"""The table of runs for the terminal, and how a run's progress is written in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from r1kit.console import duration
from r1kit.status.runs import RunStatus, Score
from r1kit.status.state import RunState

STYLES: dict[RunState, str] = {"running": "green", "stopped": "yellow", "failed": "red", "done": ""}
UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


def runs_table(statuses: Sequence[RunStatus], now: float) -> Table:
    """Return a table with one row per run. `now` is in seconds since 1970."""
    table = Table(
        box=SIMPLE_HEAD, caption="best: pass@1 of the benchmark that most stages measured; left: of the stage"
    )
    for heading in ("run", "recipe", "state", "stage", "step", "best", "left", "changed"):
        is_number = heading in ("step", "left", "changed")
        justify: Literal["left", "right"] = "right" if is_number else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=is_number or heading == "state")
    for status in statuses:
        table.add_row(
            Text(status.dir),
            Text(status.recipe),
            Text(status.state, style=STYLES[status.state]),
            Text(f"{status.stages_done}/{status.stages} {status.stage or ''}"),
            _step(status),
            Text(_score(status.best)),
            "" if status.seconds_left is None else duration(status.seconds_left),
            ago(now - status.changed),
        )
    return table


def _step(status: RunStatus) -> str:
    if status.step is None:
        return ""
    return f"{status.step:,}" + (f"/{status.steps:,}" if status.steps is not None else "")


def _score(score: Score | None) -> str:
    return "" if score is None else f"{100 * score.value:.1f} % {score.benchmark}"


def ago(seconds: float) -> str:
    """Format how long ago something was, in its largest unit."""
    for unit, size in UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "now"
