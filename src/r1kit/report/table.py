"""Before and after: the evaluate stages side by side, as records for the page and as text for the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from r1kit.report.collect import Run, is_number
from r1kit.report.excerpts import shared_questions

METRICS = ("pass@1", "cons@*", "pass@*", "format_rate", "readable", "language", "mean_tokens", "truncated")
SECTIONS = {"by_level": "level", "by_family": "family", "by_language": "language"}
IN_TERMINAL = ("pass@1", "cons@*", "format_rate", "mean_tokens")
SAMPLES_IN_TERMINAL, LINES_IN_TERMINAL = 2, 8  # questions, and lines of each answer


@dataclass(frozen=True, slots=True)
class Cell:
    """One number, with its 95 % interval where it has one."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One line of the table: a metric of a benchmark, or its pass@1 within one group of problems."""

    benchmark: str
    section: str  # "" for the whole benchmark, else "level", "family" or "language"
    group: str  # which level, family or language
    metric: str
    cells: tuple[Cell, ...]  # one a stage, in the order given


def comparison_rows(evals: Mapping[str, Mapping[str, Any]]) -> list[ComparisonRow]:
    """The table's lines from {stage: {"model", "benchmarks": {name: summary}}}; a stage without a number has None."""
    stages = [results["benchmarks"] for results in evals.values()]
    rows = []
    for benchmark in dict.fromkeys(name for s in stages for name in s):
        summaries = [_as_mapping(s.get(benchmark)) for s in stages]
        keys = list(dict.fromkeys(key for s in summaries for key in s))
        for metric in dict.fromkeys(k for pattern in METRICS for k in keys if fnmatchcase(k, pattern)):
            rows.append(ComparisonRow(benchmark, "", "", metric, tuple(_cell(s, metric) for s in summaries)))
        for key, section in SECTIONS.items():
            tables = [_as_mapping(s.get(key)) for s in summaries]
            for group in sorted({g for t in tables for g in t}, key=_natural):
                cells = tuple(_cell(_as_mapping(t.get(group)), "pass@1") for t in tables)
                rows.append(ComparisonRow(benchmark, section, group, "pass@1", cells))
    return rows


def _as_mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _natural(name: str) -> tuple[bool, int, str]:
    """Level 10 after level 9."""
    return (True, int(name), "") if name.isdecimal() else (False, 0, name)


def _cell(summary: Mapping[str, Any], metric: str) -> Cell:
    value, intervals = summary.get(metric), _as_mapping(summary.get("intervals"))
    interval = summary.get("ci95") if metric == "pass@1" else intervals.get(metric)
    if not is_number(value):
        return Cell(None)
    if isinstance(interval, list) and len(interval) == 2 and all(map(is_number, interval)):
        return Cell(value, *interval)
    return Cell(value)


def show(metric: str, cell: Cell) -> tuple[str, str]:
    """The number and its interval as people read them: ("76.2 %", "73-79"), ("212", "")."""
    if cell.value is None:
        return "-", ""
    tokens, known = metric == "mean_tokens", cell.low is not None and cell.high is not None
    interval = "-".join(f"{end if tokens else 100 * end:,.0f}" for end in (cell.low, cell.high)) if known else ""
    if tokens:
        return f"{cell.value:,.0f}" if cell.value >= 100 else f"{cell.value:.1f}", interval
    return f"{100 * cell.value:.1f} %", interval


def row_label(row: ComparisonRow) -> str:
    """What stands at the row's left."""
    if not row.section:
        return metric_label(row.metric)
    return f"level {row.group}" if row.section == "level" else row.group


def metric_label(metric: str) -> str:
    """The metric's name for people; pass@1 and its kin stay as they are."""
    names = {"format_rate": "format rate", "language": "one language", "mean_tokens": "mean tokens"}
    return {**names, "truncated": "cut off"}.get(metric, metric)


def comparison_table(evals: Mapping[str, Mapping[str, Any]]) -> Table:
    """The terminal's table: a column for each evaluate stage, pass@1 with its 95 % interval, then pass@1 by level."""
    table = Table(
        title="Before and after", title_justify="left", box=SIMPLE_HEAD, caption="beside pass@1: its 95 % interval"
    )
    table.add_column("")
    for stage in evals:
        table.add_column(Text(printable(stage)), justify="right")
    benchmark = None
    for row in comparison_rows(evals):
        if row.section not in ("", "level") or not any(fnmatchcase(row.metric, p) for p in IN_TERMINAL):
            continue
        if row.benchmark != benchmark:
            benchmark = row.benchmark
            table.add_section()
            table.add_row(Text(printable(benchmark), style="bold"))
        name = f"  {row_label(row)}" if row.section else row_label(row)
        cells = (show(row.metric, cell if row.metric == "pass@1" else Cell(cell.value)) for cell in row.cells)
        table.add_row(Text(printable(name)), *(Text.assemble(number, (f"  {ci}", "dim")) for number, ci in cells))
    return table


def sample_answers(run: Run) -> Iterator[Text | Padding]:
    """The same few questions as every evaluate stage answered them."""
    for question in shared_questions(run.stages)[:SAMPLES_IN_TERMINAL]:
        yield Text.assemble(("\nQuestion: ", "bold"), printable(question.question))
        yield Text.assemble(("Answer:   ", "bold"), printable(question.answer))
        for stage, rows in question.answers.items():
            right = rows[0].get("correct")
            mark = ("not graded", "yellow") if right is None else ("right", "green") if right else ("wrong", "red")
            yield Text.assemble((f"  {printable(stage)}: ", "bold"), mark)
            yield Padding(Text(_first_lines(str(rows[0].get("completion", "")))), (0, 0, 0, 4))


def _first_lines(text: str) -> str:
    lines = printable(text).strip().splitlines()
    more = [] if len(lines) <= LINES_IN_TERMINAL else [f"[... {len(lines) - LINES_IN_TERMINAL} more lines ...]"]
    return "\n".join(line[:300] for line in lines[:LINES_IN_TERMINAL] + more)


def printable(text: str) -> str:
    """Without the control characters with which a model's text could drive the terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "\ufffd", text)
