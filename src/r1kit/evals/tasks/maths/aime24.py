"""AIME 2024: 30 competition problems with answers from 0 to 999."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, text, then
from r1kit.evals.tasks.wording import BOXED
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of HuggingFaceH4/aime_2024 or of a copy with other names: "049" is the answer 49."""
    answer = text(row, "answer")
    return make_problem(text(row, "problem", "question"), str(int(answer)) if answer.isdecimal() else answer)


TASK = Task(
    name="aime24",
    title="AIME 2024",
    n=30,
    k=64,
    metric="pass@1",
    read=read,
    prompt=then(BOXED),
    verifier="math",
    licence="problems MAA; files MIT or Apache-2.0",
    source="HuggingFaceH4/aime_2024",
    split="train",
    remarks="the standard error of 30 problems alone is about 7 points",
)
