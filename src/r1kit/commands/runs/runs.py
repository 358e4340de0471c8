"""List runs and how far they have come."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r1kit.commands.options import Json, print_json

if TYPE_CHECKING:
    from r1kit.status.runs import RunStatus


def command(
    directories: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="runs, or directories of runs; default: runs")
    ] = None,
    json_output: Json = False,
) -> None:
    """List runs with their state, stage, step, best score and time left. Reads only files, and needs no torch."""
    from r1kit.status.runs import find_runs, read_status

    given = directories or [Path("runs")]
    statuses = [read_status(run) for run in find_runs(given)]
    if json_output:
        print_json({"runs": [asdict(status) for status in statuses]})
    elif statuses:
        _show(statuses)
    else:
        print(f"no runs in {', '.join(map(str, given))}. Start one with: r1kit run sprout-zero")


def _show(statuses: list[RunStatus]) -> None:
    from rich.console import Console

    from r1kit.status.table import runs_table

    Console(width=shutil.get_terminal_size((120, 24)).columns).print(runs_table(statuses, time.time()))
