"""HumanEval: complete a Python function from its docstring."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, text, then
from r1kit.types import Problem

INSTRUCTION = (
    "Complete this Python function. Respond with one block of code (```python) that holds the complete function, and "
    "all imports and helper functions that it needs, also those given above."
)


def read(row: Row) -> Problem:
    """Read a row: the tests are the function `check(candidate)`."""
    question = f"```python\n{text(row, 'prompt')}\n```"
    tests = [str(row["test"])]
    return make_problem(question, "", tests=tests, mode="assert", function=text(row, "entry_point"))


TASK = Task(
    name="humaneval",
    title="HumanEval",
    n=164,
    k=8,
    metric="pass@1",
    read=read,
    prompt=then(INSTRUCTION),
    verifier="code",
    licence="MIT",
    source="openai/openai_humaneval",
    remarks="not in the paper",
)
