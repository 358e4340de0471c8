"""LiveCodeBench: the program in an answer, and pass@1 of recorded grades by model, difficulty and window."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from r1kit.data.store import DataError
from r1kit.evals.scoring.base import Groups, Options, Row, Scorer, answer_text, group_of, shown, typed

FENCE = "```"
PAPER_WINDOW = ("2024-08-01", "2025-01-31")  # contest dates (DeepSeek-R1, section 3)


def extract_code(text: str) -> str:
    """Return the text between the last two lines with a fence; "" if fewer than two lines have one."""
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if FENCE in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) if len(fences) >= 2 else ""


def _grades(row: Row) -> list[int]:
    """Return the grades of a problem's samples: true and false, or numbers above 0 for right."""
    grades: list[int] = typed(row, list, "graded")
    if wrong := [grade for grade in grades if not isinstance(grade, int)]:
        raise DataError(f"graded contains {shown(wrong[0])}: must be a list of true and false, or of 1 and 0")
    return grades


class LiveCodeBench(Scorer):
    """Scores the extraction from `output`, or, in rows with `graded`, the recorded grades of a problem's samples."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._means = Groups()

    def add(self, row: Row) -> None:
        """Score a row."""
        groups = {"models": group_of(row, "model"), "difficulties": group_of(row, "difficulty")}
        if "graded" in row:
            grades = [grade > 0 for grade in _grades(row)]
            first, last = PAPER_WINDOW
            date = (group_of(row, "contest_date") or "")[:10]
            window = groups["models"] or "all models" if first <= date <= last else None
            share = fmean(grades) if grades else 0.0
            self._means.add({**groups, f"{first}..{last}": window}, **{"pass@1": share})
            self.compare(row, {"graded": row["graded"]})
        else:
            code = extract_code(answer_text(row, "graded"))
            self._means.add(groups, extracted=bool(code))
            self.compare(row, {"code": code})

    def metrics(self) -> dict[str, Any]:
        """Return pass@1, or the share of answers with a program, in percent."""
        return self._means.percent()
