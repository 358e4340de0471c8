"""IFEval: 541 prompts with instructions that a program checks."""

from __future__ import annotations

from r1kit.data.problem_rows import to_problem
from r1kit.data.store import DataError
from r1kit.evals.task import Row, Task, value
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of google/IFEval: prompt, instruction_id_list and kwargs."""
    value(row, "instruction_id_list")
    problem = to_problem(row, "IFEval", "ifeval")
    if problem is None:
        raise DataError("the prompt is empty")
    return problem


TASK = Task(
    name="ifeval",
    title="IFEval",
    n=541,
    k=4,
    metric="pass@1",
    read=read,
    prompt=lambda problem: problem.question,
    verifier="ifeval_strict",
    licence="Apache-2.0",
    source="google/IFEval",
    split="train",
    remarks="pass@1 is prompt_strict: the share of prompts with all instructions followed",
)
