"""Write the report of a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from r1kit.commands.options import Json, print_json


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the directory of a run")],
    json_output: Json = False,
) -> None:
    """Write report.html into a run's directory and print its table. With --json, print where it is."""
    page = write(run_dir)
    if json_output:
        return print_json({"run": str(run_dir), "report": str(page)})
    show(run_dir, page)


def write(run_dir: Path) -> Path:
    """Write report.html into a run's directory, and return its path."""
    from r1kit.report.render import write_report

    return write_report(run_dir)


def show(run_dir: Path, page: Path) -> None:
    """Print the table of a run and where its report is."""
    from r1kit.report.terminal import render_text

    print(render_text(run_dir, width=shutil.get_terminal_size((120, 24)).columns))
    print(f"report: {page}")
