"""The paper's findings, checked in this run: each one compares two cells of the stage table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import hypot
from typing import Any, Literal

from r1kit.evals.paired import pool
from r1kit.report.comparison import Cell
from r1kit.report.stage_table import StageRow, StageTable, paper_rows

ONE_LANGUAGE = 0.97  # share of words in the question's language that the paper's reward maintains (v2 Fig. 7)

Verdict = Literal["agrees", "no clear difference", "disagrees", "not measured"]
Side = str | float  # the role of a column, or a constant
PaperPair = tuple[str, float, float, str]  # benchmark, lower value, higher value, source


@dataclass(frozen=True, slots=True)
class Finding:
    """The claim that `high` is above `low`, and whether it holds in this run."""

    claim: str
    row: str
    low: Cell
    high: Cell
    difference: tuple[float, float] | None  # 95 % confidence interval of high - low
    verdict: Verdict
    paper: tuple[PaperPair, ...]


CLAIMS: tuple[tuple[str, str, Side, Side], ...] = (  # claim, row, lower side, higher side
    ("R1-Zero reasons better than the base", "reasoning/pass@1", "base", "zero"),
    (f"R1-Zero mixes languages (below {ONE_LANGUAGE:.0%})", "reasoning/language", "zero", ONE_LANGUAGE),
    ("the cold start costs reasoning: R1-Dev1 below R1-Zero", "reasoning/pass@1", "dev1", "zero"),
    ("the cold start improves readability: R1-Dev1 above R1-Zero", "reasoning/readable", "zero", "dev1"),
    ("the cold start helps to follow instructions: R1-Dev1 above R1-Zero", "general/family/writing", "zero", "dev1"),
    ("RL recovers reasoning: R1-Dev2 above R1-Dev1", "reasoning/pass@1", "dev1", "dev2"),
    (f"the language reward works: R1-Dev2 at least {ONE_LANGUAGE:.0%}", "reasoning/language", ONE_LANGUAGE, "dev2"),
    ("the second SFT is preferred: R1-Dev3 above R1-Dev2", "general/win_rate", "dev2", "dev3"),
    ("the final RL is preferred: R1 above R1-Dev3", "general/win_rate", "dev3", "r1"),
    ("R1 is preferred to R1-Zero", "general/win_rate", "zero", "r1"),
    ("R1 is preferred to the base", "general/win_rate_base", "base", "r1"),
    ("R1 follows instructions better than the base", "general/family/writing", "base", "r1"),
    ("R1 reasons at least as well as R1-Zero", "reasoning/pass@1", "zero", "r1"),
    (f"R1 keeps one language: at least {ONE_LANGUAGE:.0%}", "reasoning/language", ONE_LANGUAGE, "r1"),
)


def findings(table: StageTable) -> list[Finding]:
    """Check every finding whose models the table has. Only the cells and their intervals decide."""
    rows = {row.key: row for row in table.rows}
    roles = {column.role for column in table.columns}
    checked = []
    for claim, key, low, high in CLAIMS:
        if {side for side in (low, high) if isinstance(side, str)} <= roles:
            paper = _paper_pairs(key, low, high)
            checked.append(_finding(claim, key, _side(table, rows, key, low), _side(table, rows, key, high), paper))
    gains = rows.get("reasoning/gain")
    for column, gain in zip(table.columns, gains.cells if gains else (), strict=False):
        claim = f"majority voting beats single answers: {column.title}"
        checked.append(_finding(claim, "reasoning/gain", Cell(0.0, 0.0, 0.0), gain, _paper_vote(column.role)))
    return checked + list(_distilled(table, rows.get("reasoning/pass@1")))


def _distilled(table: StageTable, row: StageRow | None) -> Iterator[Finding]:
    """Compare each distilled student with the same base model trained by RL."""
    cells = dict(zip(table.columns, row.cells, strict=True)) if row else {}
    for student in (column for column in cells if column.role == "student"):
        for control in (c for c in cells if c.role == "student_rl" and c.base == student.base):
            claim = f"distillation beats RL on the same base: {student.model} above {control.model}"
            paper = _paper_pairs("reasoning/pass@1", "student_rl", "student")
            yield _finding(claim, "reasoning/pass@1", cells[control], cells[student], paper)


def _finding(claim: str, key: str, low: Cell, high: Cell, paper: tuple[PaperPair, ...]) -> Finding:
    return Finding(claim, key, low, high, difference(low, high), verdict(low, high), paper)


def _side(table: StageTable, rows: Mapping[str, StageRow], key: str, side: Side) -> Cell:
    if not isinstance(side, str):
        return Cell(side, side, side)
    cells = zip(table.columns, rows[key].cells, strict=True) if key in rows else ()
    return next((cell for column, cell in cells if column.role == side), Cell(None))


def _paper_pairs(key: str, low: Side, high: Side) -> tuple[PaperPair, ...]:
    if not isinstance(low, str) or not isinstance(high, str):
        return ()
    rows = (row for row in paper_rows() if row.row == key and low in row.values and high in row.values)
    return tuple((row.benchmark, row.values[low], row.values[high], row.source(low, high)) for row in rows)


def _paper_vote(role: str) -> tuple[PaperPair, ...]:
    aime = {row.row: row for row in paper_rows() if row.benchmark.startswith("AIME")}
    one, vote = aime["reasoning/pass@1"].values, aime["reasoning/cons"]
    known = role in one and role in vote.values
    return ((vote.benchmark, one[role], vote.values[role], vote.source(role)),) if known else ()


def verdict(low: Cell, high: Cell) -> Verdict:
    """Return whether `high` is above `low`, by the 95 % confidence interval of the difference."""
    bounds = difference(low, high)
    if bounds is None:
        return "not measured"
    least, most = bounds
    return "agrees" if least > 0 else "disagrees" if most < 0 else "no clear difference"


def difference(low: Cell, high: Cell) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of high - low, or None if a cell has no interval.

    Paired by problem and pooled over runs (`evals.paired.pool`), where the values of every problem are recorded. Else
    Newcombe 1998, method 10, for independent samples. Conservative: both models answered the same problems.
    """
    if (above := _by_problem(high, low)) and (below := _by_problem(low, high)):
        return pool(above, below).ci95
    if low.value is None or high.value is None or low.interval is None or high.interval is None:
        return None
    (low_low, low_high), (high_low, high_high) = low.interval, high.interval
    gap = high.value - low.value
    least = gap - hypot(high.value - high_low, low_high - low.value)
    return least, gap + hypot(high_high - high.value, low.value - low_low)


def _by_problem(cell: Cell, other: Cell) -> Sequence[Mapping[str, float]]:
    """Return the values of every problem in every run, those of a constant for the problems of the other side."""
    if cell.runs or cell.value is None or cell.low != cell.high:
        return cell.runs
    return [dict.fromkeys(run, cell.value) for run in other.runs]


def records(table: StageTable) -> dict[str, Any]:
    """Return the table and its findings ("directions") as plain values for JSON, without the values of problems."""

    def kept(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in items if key != "runs"}

    table_and_findings = asdict(table, dict_factory=kept)
    return {**table_and_findings, "directions": [asdict(f, dict_factory=kept) for f in findings(table)]}
