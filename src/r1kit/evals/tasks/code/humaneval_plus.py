"""HumanEval+: the problems of HumanEval with about 80 times as many tests."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, text, then
from r1kit.evals.tasks.code.humaneval import INSTRUCTION
from r1kit.evals.tasks.wording import plus_tests
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of evalplus/humanevalplus."""
    tests, mode = plus_tests(text(row, "test"))
    question = f"```python\n{text(row, 'prompt')}\n```"
    return make_problem(question, "", tests=tests, mode=mode, function=text(row, "entry_point"))


TASK = Task(
    name="humaneval_plus",
    title="HumanEval+",
    n=164,
    k=8,
    metric="pass@1",
    read=read,
    prompt=then(INSTRUCTION),
    verifier="code",
    licence="Apache-2.0",
    source="evalplus/humanevalplus",
    remarks="not in the paper; tests that compare with a reference function need numpy in the sandbox",
)
