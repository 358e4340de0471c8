"""CNMO 2024: the Chinese national olympiad for secondary schools, in Chinese or English."""

from __future__ import annotations

from dataclasses import replace

from r1kit.errors import UserError
from r1kit.evals.task import Row, Task, make_problem, text
from r1kit.evals.tasks.wording import BOXED, BOXED_ZH
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of opencompass/LiveMathBench."""
    return make_problem(
        text(row, "question", "problem"), text(row, "answer"), family=str(row.get("question_type") or "")
    )


def prompt(problem: Problem) -> str:
    """Ask in the language of the problem."""
    return f"{problem.question}\n\n{BOXED_ZH if problem.language == 'zh' else BOXED}"


def vary(task: Task, language: str) -> Task:
    """Return the Chinese or the English problems."""
    if language not in ("cn", "en"):
        raise UserError(f"{task.name}:{language}: must be {task.variants}")
    return replace(task, source=f"opencompass/LiveMathBench:v202412_CNMO_{language}")


TASK = Task(
    name="cnmo24",
    title="CNMO 2024",
    n=18,
    k=64,
    metric="pass@1",
    read=read,
    prompt=prompt,
    verifier="math",
    licence="see the card at the hub",
    source="opencompass/LiveMathBench:v202412_CNMO_cn",
    remarks="the paper states neither the number of problems nor the language",
    variants="cn (default) or en",
    vary=vary,
)
