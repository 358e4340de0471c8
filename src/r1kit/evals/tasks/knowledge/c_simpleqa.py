"""C-SimpleQA: short Chinese questions about facts; a judge gives one of three grades."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, text
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of OpenStellarTeam/Chinese-SimpleQA."""
    return make_problem(text(row, "question"), text(row, "answer"), family=str(row.get("primary_category") or ""))


TASK = Task(
    name="c_simpleqa",
    title="C-SimpleQA",
    n=3_000,
    k=1,
    metric="pass@1",
    read=read,
    prompt=lambda problem: problem.question,
    verifier="simpleqa",
    licence="MIT by its paper; the card at the hub may differ",
    source="OpenStellarTeam/Chinese-SimpleQA",
    split="train",
    remarks="pass@1 is the share of the grade CORRECT. The authors' judge is gpt-4o-0806, and they add a system line; "
    "we add none",
)
