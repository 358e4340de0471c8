"""GSM8K: word problems of primary school."""

from __future__ import annotations

from r1kit.data.problem_rows import final_answer
from r1kit.evals.task import Row, Task, make_problem, text, then
from r1kit.evals.tasks.wording import BOXED
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of openai/gsm8k, whose solution ends in `#### ANSWER`."""
    return make_problem(text(row, "question"), final_answer(text(row, "answer")))


TASK = Task(
    name="gsm8k",
    title="GSM8K",
    n=1_319,
    k=4,
    metric="pass@1",
    read=read,
    prompt=then(BOXED),
    verifier="math",
    licence="MIT",
    source="openai/gsm8k:main",
    remarks="not in the paper",
)
