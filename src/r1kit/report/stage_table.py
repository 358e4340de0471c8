"""The paper's stage table: what every model of a run can do, and whether it goes the way the paper's models went.

A column is an evaluate stage, and its role is what the evaluated model is in the paper: `zero`, `dev1`, `dev2`, `dev3`
and `r1` by the name of the stage that made it, `base` is what `zero` starts from, and what is trained from another
base is a student: by sft a distilled one, by rl the control. The benchmark `general` holds what is no reasoning.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from statistics import fmean
from typing import Any

from r1kit.report.collect import Run, is_number
from r1kit.report.table import Cell, ComparisonRow, comparison_rows, row_label
from r1kit.report.win_rate import win_rates

GENERAL = "general"
TITLES = {"base": "base", "zero": "R1-Zero", "dev1": "Dev1", "dev2": "Dev2", "dev3": "Dev3", "r1": "R1"}
SHOWN = ("pass@1", "cons@*", "format_rate", "readable", "language", "mean_tokens")
SHOWN_OF_GENERAL = ("pass@1", "mean_tokens")
FAMILIES = {"writing": "instruction following"}  # of the general benchmark; the others' names say what they are


@dataclass(frozen=True, slots=True)
class Column:
    """One evaluated model."""

    stage: str  # the evaluate stage
    model: str
    role: str  # a key of TITLES, "student", "student_rl" or ""
    base: str  # what the model was trained from

    @property
    def title(self) -> str:
        return TITLES.get(self.role, self.model)


@dataclass(frozen=True, slots=True)
class StageRow:
    """One line: a number of every model. `key` is BENCHMARK/METRIC or BENCHMARK/SECTION/GROUP."""

    key: str
    label: str
    metric: str
    cells: tuple[Cell, ...]  # one a column


@dataclass(frozen=True, slots=True)
class StageTable:
    """The table; a plain record."""

    columns: tuple[Column, ...]
    rows: tuple[StageRow, ...]


@dataclass(frozen=True, slots=True)
class PaperRow:
    """What the paper says beside a row of ours, in per cent, by role."""

    row: str
    benchmark: str
    source: str
    values: Mapping[str, float]


# -- the table ----------------------------------------------------------------------------------------------------


def stage_table(run: Run) -> StageTable:
    """The table of a run's evaluate stages, in the recipe's order."""
    columns = columns_of(run)
    rows = list(_rows(run.evals))
    opponent = next((column.stage for column in columns if column.role == "zero"), None)
    if opponent is not None and (cells := win_rates(run, opponent, GENERAL)):
        at = next((i for i, row in enumerate(rows) if row.key.startswith(f"{GENERAL}/")), len(rows))
        rows.insert(at, StageRow(f"{GENERAL}/win_rate", "preferred to R1-Zero", "win_rate", cells))
    return StageTable(columns, tuple(rows))


def columns_of(run: Run) -> tuple[Column, ...]:
    made = {stage.name: stage for stage in run.stages}
    first = made["zero"].config.get("model") if "zero" in made else None
    columns = []
    for name, results in run.evals.items():
        model = str(results.get("model"))
        base = str(made[model].config.get("model")) if model in made else ""
        role = "base" if model == first else model if model in TITLES else ""
        if not role and model in made and base != first:
            role = {"sft": "student", "rl": "student_rl"}.get(made[model].kind, "")
        columns.append(Column(name, model, role, base))
    return tuple(columns)


def _rows(evals: Mapping[str, Mapping[str, Any]]) -> Iterator[StageRow]:
    found = comparison_rows(evals)
    for benchmark in dict.fromkeys(row.benchmark for row in found):
        own = [row for row in found if row.benchmark == benchmark]
        first = [row for row in own if row.metric == "pass@1" or row.metric.startswith("cons@")]
        for row in [*first, *(row for row in own if row not in first)]:
            shown = SHOWN_OF_GENERAL if benchmark == GENERAL else SHOWN
            if row.section == "language" or not any(fnmatchcase(row.metric, pattern) for pattern in shown):
                continue
            key = row.metric.partition("@")[0] if row.metric.startswith("cons@") else row.metric
            where = f"{row.section}/{row.group}" if row.section else key
            yield StageRow(f"{benchmark}/{where}", _label(row), row.metric, row.cells)
            if key == "cons":
                gains = tuple(_gain(results["benchmarks"].get(benchmark), row.metric) for results in evals.values())
                yield StageRow(f"{benchmark}/gain", f"{row.metric} - pass@1", "gain", gains)


def _label(row: ComparisonRow) -> str:
    if row.benchmark == GENERAL and row.section == "family":
        return FAMILIES.get(row.group, row.group)
    return "right (the good reply)" if row.benchmark == GENERAL and row.metric == "pass@1" else row_label(row)


def _gain(summary: Any, metric: str) -> Cell:
    """By how much the vote is above one answer. The same samples gave both, so the interval is of the difference."""
    if not isinstance(summary, Mapping) or not is_number(summary.get(metric)) or not is_number(summary.get("pass@1")):
        return Cell(None)
    intervals = summary.get("intervals")
    bounds = intervals.get("cons_gain") if isinstance(intervals, Mapping) else None
    return Cell(summary[metric] - summary["pass@1"], *(bounds if isinstance(bounds, list) else ()))


def mean_table(tables: Sequence[StageTable]) -> StageTable:
    """The mean of several runs of one recipe, cell by cell. ValueError when their columns differ.

    An interval is the mean of the runs' own: the problems are the same in each, so more runs do not narrow it.
    """
    if len({table.columns for table in tables}) != 1:
        raise ValueError("these runs did not evaluate the same models: " + "; ".join(
            ", ".join(column.stage for column in table.columns) for table in tables))  # fmt: skip
    by_key: dict[str, list[StageRow]] = {}
    for row in (row for table in tables for row in table.rows):
        by_key.setdefault(row.key, []).append(row)
    rows = tuple(
        StageRow(key, same[0].label, same[0].metric, tuple(map(_mean_cell, zip(*(r.cells for r in same), strict=True))))
        for key, same in by_key.items()
    )
    return StageTable(tables[0].columns, rows)


def _mean_cell(cells: Sequence[Cell]) -> Cell:
    known = [cell for cell in cells if cell.value is not None]
    if not known:
        return Cell(None)
    value = fmean(cell.value for cell in known)
    if any(cell.low is None or cell.high is None for cell in known):
        return Cell(value)
    return Cell(value, fmean(cell.low for cell in known), fmean(cell.high for cell in known))


@lru_cache(maxsize=1)
def paper_rows() -> tuple[PaperRow, ...]:
    """paper.csv: the numbers of arXiv 2501.12948, with the table each is from."""
    text = files("r1kit.report").joinpath("paper.csv").read_text(encoding="utf-8")
    return tuple(
        PaperRow(row.pop("row"), row.pop("benchmark"), row.pop("source"), {k: float(v) for k, v in row.items() if v})
        for row in csv.DictReader(text.splitlines())
    )
