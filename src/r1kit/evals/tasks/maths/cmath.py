"""CMATH: Chinese word problems of six grades of primary school."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, number, text, then
from r1kit.evals.tasks.wording import BOXED_ZH
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of weitianwen/cmath; the grade is the level."""
    return make_problem(text(row, "question"), text(row, "golden", "answer"), level=number(row, "grade"))


TASK = Task(
    name="cmath",
    title="CMATH",
    n=1_098,
    k=4,
    metric="pass@1",
    read=read,
    prompt=then(BOXED_ZH),
    verifier="math",
    licence="CC BY 4.0",
    source="weitianwen/cmath",
    remarks="not in the paper",
)
