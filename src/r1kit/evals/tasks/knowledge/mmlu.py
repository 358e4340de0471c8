"""MMLU: four options, 57 subjects. The mean is over questions (micro), not over subjects."""

from __future__ import annotations

from string import ascii_uppercase

from r1kit.evals.task import Row, Task, make_problem, text, then, value
from r1kit.evals.tasks.wording import LETTER, lettered
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of cais/mmlu (choices, answer from 0) or of simple-evals' mmlu.csv (columns A to D, a letter)."""
    fields = {key.lower() for key in row}
    options = value(row, "choices") if "choices" in fields else [text(row, letter) for letter in "ABCD"]
    answer = text(row, "answer")
    letter = ascii_uppercase[int(answer)] if answer.isdecimal() else answer
    question = lettered(text(row, "question"), options)
    return make_problem(question, letter, family=text(row, "subject"), options=[*map(str, options)])


TASK = Task(
    name="mmlu",
    title="MMLU",
    n=14_042,
    k=4,
    metric="pass@1",
    read=read,
    prompt=then(LETTER),
    verifier="choice",
    licence="MIT",
    source="cais/mmlu:all",
    remarks="mean over questions; the mean over the 57 subjects differs by about a point",
)
