"""SimpleQA: short questions about facts; a judge gives one of three grades."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from r1kit.evals.task import Row, Task, make_problem, text
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row."""
    return make_problem(text(row, "problem", "question"), text(row, "answer"), family=_topic(row.get("metadata")))


def _topic(metadata: object) -> str:
    """Return the topic in a dictionary, which files have in Python's notation; "" without one."""
    if isinstance(metadata, str):
        try:
            metadata = ast.literal_eval(metadata)
        except (ValueError, SyntaxError):
            return ""
    return str(metadata.get("topic") or "") if isinstance(metadata, Mapping) else ""


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
