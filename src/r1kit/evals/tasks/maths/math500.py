"""MATH-500: 500 problems of MATH in five levels."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, number, text, then
from r1kit.evals.tasks.wording import BOXED
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of HuggingFaceH4/MATH-500."""
    subject = text(row, "subject", "type")
    return make_problem(text(row, "problem"), text(row, "answer"), level=number(row, "level"), family=subject)


TASK = Task(
    name="math500",
    title="MATH-500",
    n=500,
    k=16,
    metric="pass@1",
    read=read,
    prompt=then(BOXED),
    verifier="math",
    licence="MIT",
    source="HuggingFaceH4/MATH-500",
)
