"""MBPP: short Python functions from a sentence and three assertions."""

from __future__ import annotations

import re

from r1kit.evals.task import Row, Task, make_problem, number, text, then, value
from r1kit.types import Problem

TEST = range(11, 511)  # task ids
INSTRUCTION = "Respond with one block of code (```python) that holds the function and all imports that it needs."


def asked(row: Row) -> str:
    """Return the task with its assertions."""
    return "\n".join([text(row, "text", "prompt"), "", "It must pass these tests:", *value(row, "test_list")])


def function_of(row: Row) -> str | None:
    """Return the function that the reference program defines and the first assertion calls."""
    called = re.findall(r"(\w+)\s*\(", str(value(row, "test_list")[0]))
    return next((name for name in called if re.search(rf"^def {name}\b", text(row, "code"), re.MULTILINE)), None)


def read(row: Row) -> Problem | None:
    """Read a row of google-research-datasets/mbpp, or of its complete file, in which 11 to 510 are the test split."""
    if number(row, "task_id") not in TEST:
        return None
    setup = str(row.get("test_setup_code") or "") or "\n".join(row.get("test_imports") or [])
    tests = [*([setup] if setup.strip() else []), *value(row, "test_list")]
    return make_problem(asked(row), "", tests=tests, mode="assert", function=function_of(row))


TASK = Task(
    name="mbpp",
    title="MBPP",
    n=500,
    k=8,
    metric="pass@1",
    read=read,
    prompt=then(INSTRUCTION),
    verifier="code",
    licence="CC BY 4.0",
    source="google-research-datasets/mbpp:full",
    remarks="not in the paper; the 500 problems of the test split",
)
