"""The tables that `r1kit run`, `r1kit report` and `r1kit eval` print."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from r1kit.console import number, printable
from r1kit.metrics.modules import ModuleTime, module_times
from r1kit.report.ancestry import describe_amendment
from r1kit.report.collect import Run, Stage, collect, is_number
from r1kit.report.comparison import Cell, comparison_rows, format_cell, row_label
from r1kit.report.excerpts import shared_questions
from r1kit.report.findings import Verdict
from r1kit.report.stage_table import Column, StageRow, StageTable, shows_several_models, stage_table
from r1kit.report.stage_views import FINDING_HEADINGS, finding_lines, table_lines

METRICS = ("pass@1", "cons@*", "prompt_*", "instruction_*", "format_rate", "mean_tokens", "rewards/*")
MAX_COLUMNS = 6  # models side by side; more follow in further tables
MAX_QUESTIONS, MAX_LINES = 2, 8  # sample questions, and lines of each answer
STYLES: dict[Verdict, str] = {
    "agrees": "green",
    "disagrees": "red",
    "no clear difference": "yellow",
    "not measured": "",
}


def render_text(run_dir: Path, width: int = 120) -> str:
    """Return a run's evaluations as text: before and after with sample answers, or the table of all its models.

    UserError if `run_dir` is not a run directory.
    """
    run = collect(run_dir)
    out = io.StringIO()
    console = Console(file=out, width=width)
    table = stage_table(run)
    if not run.evals:
        console.print(f"No evaluate stage has finished. Evaluate a model of the run: r1kit eval {run_dir}/STAGE")
    elif shows_several_models(table):
        console.print(_all_models(table))
    else:
        console.print(Group(comparison_table(run.evals), *_sample_answers(run)))
    for stage in run.stages:
        for line in _notes(stage):
            console.print(Text.assemble((f"{printable(stage.name)}: ", "bold"), printable(line)))
        if times := module_times(stage.metrics):
            console.print(_time_line(stage.name, times))
    return out.getvalue()


def _notes(stage: Stage) -> Iterator[str]:
    """Yield the amendments of a stage, and which model it has published if not the last."""
    for amendment in stage.amendments:
        yield f"amended {describe_amendment(amendment)}"
    summary, metric = stage.artifact.get("summary"), stage.config.get("best_metric")
    if isinstance(summary, dict) and "published_step" in summary and is_number(value := summary.get(metric)):
        yield f"published step {summary['published_step']} of {summary.get('steps')}, the best by {metric}: {value:.4g}"


def _time_line(stage: str, times: Sequence[ModuleTime]) -> Text:
    """Return how a stage's time divides among its modules, in one line."""
    shares = ", ".join(f"{time.name} {time.share:.0%}" for time in times)
    beside = ", ".join(f"{time.name} {time.overlapped:.2g} s" for time in times if time.overlapped)
    text = f"{number(sum(time.seconds for time in times), 3)} s a step: {shares}"
    return Text.assemble((f"{printable(stage)}: ", "bold"), text, f"; overlapped: {beside}" if beside else "")


def comparison_table(evals: Mapping[str, Mapping[str, Any]], families: bool = False) -> Table:
    """Return a table with a column per evaluate stage; pass@1 has its 95 % interval, and follows by level.

    `families` adds pass@1 by family, where a benchmark has several.
    """
    table = Table(
        title="Before and after" if len(evals) > 1 else "Results",
        title_justify="left",
        box=SIMPLE_HEAD,
        caption="ranges: 95 % confidence intervals of pass@1",
    )
    table.add_column("")
    for stage in evals:
        table.add_column(Text(printable(stage)), justify="right")
    benchmark = None
    rows = comparison_rows(evals)
    groups = Counter((row.benchmark, row.section) for row in rows)
    for row in rows:
        is_shown = row.section in ("", "level") or (
            families and row.section == "family" and groups[row.benchmark, row.section] > 1
        )
        if not is_shown or not any(fnmatchcase(row.metric, p) for p in METRICS):
            continue
        if row.benchmark != benchmark:
            benchmark = row.benchmark
            table.add_section()
            table.add_row(Text(printable(benchmark), style="bold"))
        name = f"  {row_label(row)}" if row.section else row_label(row)
        cells = (format_cell(row.metric, cell if row.metric == "pass@1" else Cell(cell.value)) for cell in row.cells)
        table.add_row(Text(printable(name)), *(Text.assemble(number, (f"  {ci}", "dim")) for number, ci in cells))
    return table


def _sample_answers(run: Run) -> Iterator[Text | Padding]:
    """Yield a few questions with the answer of every evaluate stage."""
    for question in shared_questions(run.stages)[:MAX_QUESTIONS]:
        yield Text.assemble(("\nQuestion: ", "bold"), printable(question.question))
        yield Text.assemble(("Answer:   ", "bold"), printable(question.answer))
        for stage, rows in question.answers.items():
            correct = rows[0].get("correct")
            mark = (
                ("not graded", "yellow") if correct is None else ("correct", "green") if correct else ("wrong", "red")
            )
            yield Text.assemble((f"  {printable(stage)}: ", "bold"), mark)
            yield Padding(Text(_first_lines(str(rows[0].get("completion", "")))), (0, 0, 0, 4))


def _first_lines(text: str) -> str:
    lines = printable(text).strip().splitlines()
    more = [] if len(lines) <= MAX_LINES else [f"[... {len(lines) - MAX_LINES} more lines ...]"]
    return "\n".join(line if len(line) <= 300 else f"{line[:300]} [...]" for line in lines[:MAX_LINES] + more)


def _all_models(table: StageTable) -> Group:
    """Return the stage table in blocks of MAX_COLUMNS, then the findings."""
    blocks = []
    for start in range(0, len(table.columns), MAX_COLUMNS):
        chosen = slice(start, start + MAX_COLUMNS)
        rows = [StageRow(row.key, row.label, row.metric, row.cells[chosen]) for row in table.rows]
        blocks.append(_block(rows, table.columns[chosen]))
    checks = Table(title="As in the paper?", title_justify="left", box=SIMPLE_HEAD)
    for heading in FINDING_HEADINGS[:-1]:
        checks.add_column(heading)
    for line in finding_lines(table):
        verdict = Text(line.verdict, style=STYLES[line.verdict])
        checks.add_row(Text(printable(line.claim)), line.low, line.high, line.difference, verdict)
    return Group(*blocks, checks)


def _block(rows: Sequence[StageRow], columns: Sequence[Column]) -> Table:
    block = Table(
        title="Results at each stage",
        title_justify="left",
        box=SIMPLE_HEAD,
        caption="in per cent, except tokens; ranges: 95 % confidence intervals",
    )
    block.add_column("", no_wrap=True)
    for column in columns:
        block.add_column(Text(printable(column.title)), justify="right")
    benchmark = None
    for line in table_lines(rows, columns):
        if line.benchmark != benchmark:
            benchmark = line.benchmark
            block.add_section()
            block.add_row(Text(printable(benchmark), style="bold"))
        cells = (" ".join(filter(None, cell)).replace(" %", "") for cell in line.cells)
        style = "dim italic" if line.from_paper else None
        block.add_row(Text(f"  {printable(line.label)}"), *cells, style=style)
    return block
