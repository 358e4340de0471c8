"""ARC: questions of science at school."""

from __future__ import annotations

from dataclasses import replace

from r1kit.data.problem_rows import to_problem
from r1kit.data.store import DataError
from r1kit.errors import UserError
from r1kit.evals.task import Row, Task, then
from r1kit.evals.tasks.wording import LETTER
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of allenai/ai2_arc or of ARC's own files."""
    problem = to_problem(row, "ARC", "arc")
    if problem is None or problem.verifier != "choice":
        raise DataError("must have a question, choices and an answerKey")
    return problem


def vary(task: Task, part: str) -> Task:
    """Return the challenge or the easy set."""
    if part not in ("challenge", "easy"):
        raise UserError(f"{task.name}:{part}: must be {task.variants}")
    n, name = (1_172, "Challenge") if part == "challenge" else (2_376, "Easy")
    return replace(task, source=f"allenai/ai2_arc:ARC-{name}", n=n, title=f"ARC-{name}")


TASK = Task(
    name="arc",
    title="ARC-Challenge",
    n=1_172,
    k=4,
    metric="pass@1",
    read=read,
    prompt=then(LETTER),
    verifier="choice",
    licence="CC BY-SA 4.0",
    source="allenai/ai2_arc:ARC-Challenge",
    remarks="not in the paper",
    variants="challenge (default) or easy",
    vary=vary,
)
