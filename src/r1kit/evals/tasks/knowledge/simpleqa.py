"""SimpleQA: short questions about facts; a judge gives one of three grades."""

from __future__ import annotations

import ast

from r1kit.evals.task import Row, Task, make_problem, text
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row; the topic stands in `metadata`, a dictionary in Python's notation."""
    metadata = row.get("metadata")
    metadata = ast.literal_eval(metadata) if isinstance(metadata, str) and metadata.startswith("{") else metadata or {}
    return make_problem(text(row, "problem", "question"), text(row, "answer"), family=str(metadata.get("topic") or ""))


TASK = Task(
    name="simpleqa",
    title="SimpleQA",
    n=4_326,
    k=1,
    metric="pass@1",
    read=read,
    prompt=lambda problem: problem.question,
    verifier="simpleqa",
    licence="MIT",
    source="basicv8vc/SimpleQA",
    remarks="pass@1 is the share of the grade CORRECT. The paper's judge is not named; another judge changes "
    "the number",
)
