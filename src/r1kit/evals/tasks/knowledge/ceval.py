"""C-Eval: Chinese examinations in 52 subjects, four options."""

from __future__ import annotations

from dataclasses import replace

from r1kit.errors import UserError
from r1kit.evals.task import Row, Task, make_problem, text
from r1kit.evals.tasks.wording import LETTER_ZH, lettered
from r1kit.types import Problem


def read(row: Row) -> Problem | None:
    """Read a row of ceval/ceval-exam; rows whose answer is not published are left out."""
    answer = str(row.get("answer") or "").strip()
    if not answer:
        return None
    options = [text(row, letter) for letter in "ABCD"]
    subject = str(row.get("subject") or row.get("file") or "").removesuffix("_val").removesuffix("_test")
    return make_problem(lettered(text(row, "question"), options, "."), answer, family=subject, options=options)


def prompt(problem: Problem) -> str:
    """Name the subject, and ask for a last line with a letter."""
    return f"下面是一道关于 {problem.family or '综合知识'} 的单项选择题。\n\n{problem.question}\n\n{LETTER_ZH}"


def vary(task: Task, split: str) -> Task:
    """Return the validation or the test questions."""
    if split not in ("val", "test"):
        raise UserError(f"{task.name}:{split}: must be {task.variants}")
    return replace(task, split=split, n=1_346 if split == "val" else 12_342)


TASK = Task(
    name="ceval",
    title="C-Eval",
    n=1_346,
    k=4,
    metric="macro",
    read=read,
    prompt=prompt,
    verifier="choice",
    licence="CC BY-NC-SA 4.0",
    source="ceval/ceval-exam",
    split="val",
    every_config=True,
    remarks="`macro` is the mean over subjects, as on the official list; pass@1 is the mean over questions. The labels "
    "of the test split were published in July 2025",
    variants="val (default) or test",
    vary=vary,
)
