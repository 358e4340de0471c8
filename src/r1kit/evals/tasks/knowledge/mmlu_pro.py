"""MMLU-Pro: up to ten options, 14 categories."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, text, value
from r1kit.evals.tasks.wording import lettered
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of TIGER-Lab/MMLU-Pro."""
    options = [str(option) for option in value(row, "options")]
    question = lettered(text(row, "question"), options, mark=".")
    return make_problem(question, text(row, "answer"), family=text(row, "category"), options=options)


def prompt(problem: Problem) -> str:
    """Name the category, and ask for a last sentence with a letter."""
    return (
        f"This is a multiple-choice question about {problem.family}. Think step by step, and finish with the sentence "
        f'"the answer is (X)", where X is the letter of the right option.\n\n{problem.question}'
    )


TASK = Task(
    name="mmlu_pro",
    title="MMLU-Pro",
    n=12_032,
    k=4,
    metric="pass@1",
    read=read,
    prompt=prompt,
    verifier="choice",
    licence="MIT",
    source="TIGER-Lab/MMLU-Pro",
    remarks="an answer without a letter is wrong; the official script draws a random letter, which adds about a tenth "
    "of the unparsed share",
)
