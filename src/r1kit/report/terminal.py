"""What `r1kit run` and `r1kit report` print: a run's tables as plain text."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console, Group

from r1kit.report import stage_views
from r1kit.report.collect import collect
from r1kit.report.stage_table import stage_table
from r1kit.report.table import comparison_table, sample_answers


def render_text(run_dir: Path, width: int = 120) -> str:
    """A run's evaluations: before and after with sample answers, or the table of all its models when it has several.

    UserError if `run_dir` is not a run.
    """
    run = collect(run_dir)
    out = Console(file=io.StringIO(), width=width)
    stages = stage_table(run)
    if not run.evals:
        out.print("No evaluate stage has finished yet, so there is nothing to compare.")
    elif stage_views.has_several(stages):
        out.print(stage_views.text(stages))
    else:
        out.print(Group(comparison_table(run.evals), *sample_answers(run)))
    return out.file.getvalue()
