"""AMC 12 of 2024: two papers of 25 problems with five options; the paper prints points of 150."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, text, then
from r1kit.evals.tasks.wording import BOXED
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a problem and its value; copies such as AI-MO/aimo-validation-amc have numbers instead of options."""
    return make_problem(text(row, "problem", "question"), text(row, "answer"), family=str(row.get("contest") or ""))


TASK = Task(
    name="amc12",
    title="AMC 12 2024",
    n=50,
    k=16,
    metric="pass@1",
    read=read,
    prompt=then(BOXED),
    verifier="math",
    licence="problems MAA",
    where="copy the problems and answers of AMC 12 A and B of 2024 into rows with the fields problem and answer",
    remarks="the paper prints the points of 25 problems: 6 for a right answer, 1.5 for none. It published no prompts; "
    "our rows ask for the value, not for a letter",
)
