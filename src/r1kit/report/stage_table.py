"""The paper's stage table: the results of every model of a run, with the paper's numbers.

A column is an evaluate stage. Its role is the evaluated model's counterpart in the paper, given by the name of the
stage that trained it: `zero`, `dev1`, `dev2`, `dev3` or `r1`. The role `base` is the model that `zero` starts from.
Models trained from another base are students: `student` if distilled by SFT, `student_rl` for the RL control.
The benchmark `general` has the non-reasoning problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from statistics import fmean
from typing import Any

from r1kit.evals.named import paper
from r1kit.evals.named.paper import PaperNumber
from r1kit.report.collect import Run, Stage, is_number, problem_values
from r1kit.report.comparison import SECTIONS, Cell, ComparisonRow, comparison_rows, metric_label, row_label
from r1kit.report.win_rate import win_rates

GENERAL = "general"
TITLES = {"base": "base", "zero": "R1-Zero", "dev1": "R1-Dev1", "dev2": "R1-Dev2", "dev3": "R1-Dev3", "r1": "R1"}
SHOWN = ("pass@1", "cons@*", "format_rate", "readable", "language", "rewards/*", "mean_tokens")
SHOWN_OF_GENERAL = ("pass@1", "mean_tokens")
FAMILIES = {"writing": "instruction following"}  # row labels of the general benchmark's families
STAGES = "Stages of R1"  # title of the paper's table of all stages
PAPER_MODELS = {  # the paper's models -> role; v1 has R1-Zero's majority vote
    "DeepSeek-V3-Base": "base",
    "R1-Zero": "zero",
    "R1-Zero (v1)": "zero",
    "R1-Dev1": "dev1",
    "R1-Dev2": "dev2",
    "R1-Dev3": "dev3",
    "R1": "r1",
    "R1-Distill-Qwen-32B": "student",
    "R1-Zero-Qwen-32B": "student_rl",
}
PAPER_ROWS = (  # key of a row -> row of evals/named/paper.json
    *(("reasoning/pass@1", name) for name in ("AIME 2024", "MATH-500", "GPQA Diamond", "LiveCodeBench")),
    ("reasoning/cons", "AIME 2024 (cons@64)"),
    ("reasoning/level/1", "LiveCodeBench easy"),
    ("reasoning/level/3", "LiveCodeBench medium"),
    ("reasoning/level/5", "LiveCodeBench hard"),
    *(("general/win_rate", name) for name in ("AlpacaEval 2.0 (LC win rate)", "Arena-Hard")),
    ("general/family/writing", "IF-Eval (prompt strict)"),
    ("general/family/factual QA", "SimpleQA (correct)"),
    ("general/family/safety", "mean of six safety sets"),
)


@dataclass(frozen=True, slots=True)
class Column:
    """One evaluated model."""

    stage: str  # the evaluate stage
    model: str
    role: str  # a key of TITLES, "student", "student_rl" or ""
    base: str  # the model it was trained from

    @property
    def title(self) -> str:
        """The paper's name of the model, or the run's if the paper has no counterpart."""
        return TITLES.get(self.role, self.model)


@dataclass(frozen=True, slots=True)
class StageRow:
    """One metric of every model. `key` is BENCHMARK/METRIC or BENCHMARK/SECTION/GROUP."""

    key: str
    label: str
    metric: str
    cells: tuple[Cell, ...]  # one per column


@dataclass(frozen=True, slots=True)
class StageTable:
    """The table as plain records."""

    columns: tuple[Column, ...]
    rows: tuple[StageRow, ...]


@dataclass(frozen=True, slots=True)
class PaperRow:
    """The paper's numbers for one row of the table, in per cent, by role."""

    row: str
    benchmark: str
    numbers: Mapping[str, PaperNumber]

    @property
    def values(self) -> dict[str, float]:
        """The numbers without their sources."""
        return {role: number.value for role, number in self.numbers.items()}

    def source(self, *roles: str) -> str:
        """Return the tables with the numbers of these roles."""
        return "; ".join(dict.fromkeys(self.numbers[role].where for role in roles))


def stage_table(run: Run) -> StageTable:
    """Return the table of a run's evaluate stages, in the order of the recipe."""
    columns = columns_of(run)
    stages = {stage.name: stage for stage in run.stages}
    evaluated = [stages[name] for name in run.evals]
    rows = [_with_problems(row, evaluated) for row in _rows(run.evals)]
    at = next((i for i, row in enumerate(rows) if row.key.startswith(f"{GENERAL}/")), len(rows))
    return StageTable(columns, (*rows[:at], *_preferences(run, columns), *rows[at:]))


def _preferences(run: Run, columns: Sequence[Column]) -> Iterator[StageRow]:
    """Yield how often the replies of every model are preferred to those of R1-Zero and of the base."""
    for role, metric in (("zero", "win_rate"), ("base", "win_rate_base")):
        opponent = next((column.stage for column in columns if column.role == role), None)
        if opponent is not None and (cells := win_rates(run, opponent, GENERAL)):
            yield StageRow(f"{GENERAL}/{metric}", metric_label(metric), metric, cells)


def _with_problems(row: StageRow, stages: Sequence[Stage]) -> StageRow:
    """Return the row with the value of every problem, where the stages have recorded it."""
    benchmark, _, where = row.key.partition("/")
    section, _, group = where.partition("/")
    chosen = {section: group} if group and section in SECTIONS.values() else {}  # "language" is a metric too
    metric = row.label if row.metric == "gain" else row.metric
    found = (problem_values(stage.problems, benchmark, metric, chosen) for stage in stages)
    cells = zip(row.cells, found, strict=True)
    return replace(row, cells=tuple(replace(cell, runs=(own,)) if own else cell for cell, own in cells))


def columns_of(run: Run) -> tuple[Column, ...]:
    """Return the evaluated models with their roles."""
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


def shows_several_models(table: StageTable) -> bool:
    """Return whether the run has more models than one before and one after training, with roles in the paper."""
    return len(table.columns) > 2 and any(column.role for column in table.columns)


def _rows(evals: Mapping[str, Mapping[str, Any]]) -> Iterator[StageRow]:
    rows = comparison_rows(evals)
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        own = [row for row in rows if row.benchmark == benchmark]
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
    return "matches the reference reply" if row.benchmark == GENERAL and row.metric == "pass@1" else row_label(row)


def _gain(summary: Any, metric: str) -> Cell:
    """Return majority voting minus pass@1. Both use the same samples; the interval is that of the difference."""
    if not isinstance(summary, Mapping):
        return Cell(None)
    vote, single = summary.get(metric), summary.get("pass@1")
    if not is_number(vote) or not is_number(single):
        return Cell(None)
    intervals = summary.get("intervals")
    bounds = intervals.get("cons_gain") if isinstance(intervals, Mapping) else None
    return Cell(vote - single, *(bounds if isinstance(bounds, list) else ()))


def mean_table(tables: Sequence[StageTable]) -> StageTable:
    """Return the mean of several runs of one recipe, cell by cell. ValueError if their columns differ.

    The interval is the mean of the runs' intervals, not narrower: all runs were evaluated on the same problems. The
    cells keep the values of every problem in every run, by which findings are checked.
    """
    if len({table.columns for table in tables}) != 1:
        stages = "; ".join(", ".join(column.stage for column in table.columns) for table in tables)
        raise ValueError(f"these runs did not evaluate the same models: {stages}")
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
    value = fmean(cell.value for cell in known if cell.value is not None)
    runs = tuple(run for cell in cells for run in cell.runs) if all(cell.runs for cell in cells) else ()
    intervals = [cell.interval for cell in known if cell.interval is not None]
    if len(intervals) < len(known):
        return Cell(value, runs=runs)
    return Cell(value, fmean(low for low, _ in intervals), fmean(high for _, high in intervals), runs)


@lru_cache(maxsize=1)
def paper_rows() -> tuple[PaperRow, ...]:
    """Return the paper's numbers for the rows of the table. The table of R1's stages comes first."""
    tables = sorted(paper.paper_rows(), key=lambda row: row.title != STAGES)
    rows = []
    for key, benchmark in PAPER_ROWS:
        numbers: dict[str, PaperNumber] = {}
        for number in (number for row in tables if row.row == benchmark for number in row.numbers):
            if (role := PAPER_MODELS.get(number.model)) is not None:
                numbers.setdefault(role, number)
        rows.append(PaperRow(key, benchmark, numbers))
    return tuple(rows)
