"""Whether a run goes the way the paper's models went: each finding a comparison of two cells of the stage table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import hypot
from typing import Any, Literal

from r1kit.report.stage_table import StageRow, StageTable, paper_rows
from r1kit.report.table import Cell

LEAST = 0.97  # of the words in the question's language: what the paper's reward keeps (v2 Fig. 7)

Verdict = Literal["agrees", "no clear difference", "disagrees", "not measured"]
Side = str | float  # a role, or a number
Pairs = tuple[tuple[str, float, float, str], ...]  # the paper's: benchmark, the lower, the higher, the source


@dataclass(frozen=True, slots=True)
class Direction:
    """A claim that one number is above another, and what this run has to say about it."""

    claim: str
    row: str
    low: Cell
    high: Cell
    verdict: Verdict
    paper: Pairs


CLAIMS: tuple[tuple[str, str, Side, Side], ...] = (  # claim, row, what is lower, what is higher
    ("R1-Zero reasons better than the base", "reasoning/pass@1", "base", "zero"),
    (f"R1-Zero mixes languages (below {LEAST:.0%})", "reasoning/language", "zero", LEAST),
    ("the cold start costs reasoning: Dev1 below R1-Zero", "reasoning/pass@1", "dev1", "zero"),
    ("the cold start makes readable: Dev1 above R1-Zero", "reasoning/readable", "zero", "dev1"),
    ("the cold start follows instructions: Dev1 above R1-Zero", "general/family/writing", "zero", "dev1"),
    ("RL recovers reasoning: Dev2 above Dev1", "reasoning/pass@1", "dev1", "dev2"),
    (f"the language reward keeps one language: Dev2 at least {LEAST:.0%}", "reasoning/language", LEAST, "dev2"),
    ("the second SFT is preferred: Dev3 above Dev2", "general/win_rate", "dev2", "dev3"),
    ("the last RL is preferred: R1 above Dev3", "general/win_rate", "dev3", "r1"),
    ("R1 is preferred to R1-Zero", "general/win_rate", "zero", "r1"),
    ("R1 reasons at least as well as R1-Zero", "reasoning/pass@1", "zero", "r1"),
    (f"R1 keeps one language: at least {LEAST:.0%}", "reasoning/language", LEAST, "r1"),
)


def directions(table: StageTable) -> list[Direction]:
    """Whether each of the paper's findings shows in this table. Pure: the cells and their intervals decide."""
    rows = {row.key: row for row in table.rows}
    found = []
    for claim, key, low, high in CLAIMS:
        if {side for side in (low, high) if isinstance(side, str)} <= {column.role for column in table.columns}:
            paper = _paper_pairs(key, low, high)
            found.append(_direction(claim, key, _side(table, rows, key, low), _side(table, rows, key, high), paper))
    gains = rows.get("reasoning/gain")
    for column, gain in zip(table.columns, gains.cells if gains else (), strict=False):
        claim = f"a vote answers more than one answer: {column.title}"
        paper = _paper_vote(column.role)
        found.append(_direction(claim, "reasoning/gain", Cell(0.0, 0.0, 0.0), gain, paper))
    return found + list(_distilled(table, rows.get("reasoning/pass@1")))


def _distilled(table: StageTable, row: StageRow | None) -> Iterator[Direction]:
    """Each student against the same student by RL."""
    cells = dict(zip(table.columns, row.cells, strict=True)) if row else {}
    for student in (column for column in cells if column.role == "student"):
        for control in (c for c in cells if c.role == "student_rl" and c.base == student.base):
            claim = f"distillation beats RL on the same base: {student.model} above {control.model}"
            paper = _paper_pairs("reasoning/pass@1", "student_rl", "student")
            yield _direction(claim, "reasoning/pass@1", cells[control], cells[student], paper)


def _direction(claim: str, key: str, low: Cell, high: Cell, paper: Pairs) -> Direction:
    return Direction(claim, key, low, high, verdict(low, high), paper)


def _side(table: StageTable, rows: Mapping[str, StageRow], key: str, side: Side) -> Cell:
    if not isinstance(side, str):
        return Cell(side, side, side)
    cells = zip(table.columns, rows[key].cells, strict=True) if key in rows else ()
    return next((cell for column, cell in cells if column.role == side), Cell(None))


def _paper_pairs(key: str, low: Side, high: Side) -> Pairs:
    rows = (row for row in paper_rows() if row.row == key and low in row.values and high in row.values)
    return tuple((row.benchmark, row.values[low], row.values[high], row.source) for row in rows)


def _paper_vote(role: str) -> Pairs:
    aime = {row.row: row for row in paper_rows() if row.benchmark.startswith("AIME")}
    one, vote = aime["reasoning/pass@1"].values, aime["reasoning/cons"]
    known = role in one and role in vote.values
    return ((vote.benchmark, one[role], vote.values[role], vote.source),) if known else ()


def verdict(low: Cell, high: Cell) -> Verdict:
    """Whether `high` is above `low`, by the 95 % interval of the difference."""
    if None in (low.value, low.low, low.high, high.value, high.low, high.high):
        return "not measured"
    least, most = difference(low, high)
    return "agrees" if least > 0 else "disagrees" if most < 0 else "no clear difference"


def difference(low: Cell, high: Cell) -> tuple[float, float]:
    """The 95 % interval of high - low from those of each (Newcombe 1998, method 10), as if measured independently.

    The same problems were asked, so it is on the wide side.
    """
    gap = high.value - low.value
    least = gap - hypot(high.value - high.low, low.high - low.value)
    return least, gap + hypot(high.high - high.value, low.value - low.low)


def records(table: StageTable) -> dict[str, Any]:
    """The table and its directions as plain values for JSON."""
    return {**asdict(table), "directions": [asdict(found) for found in directions(table)]}
