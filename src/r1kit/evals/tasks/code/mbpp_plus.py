"""MBPP+: 378 problems of MBPP with about 35 times as many tests."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, text, then
from r1kit.evals.tasks.code.mbpp import INSTRUCTION, asked, function_of
from r1kit.evals.tasks.wording import plus_tests
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of evalplus/mbppplus."""
    tests, mode = plus_tests(text(row, "test"))
    return make_problem(asked(row), "", tests=tests, mode=mode, function=function_of(row))


TASK = Task(
    name="mbpp_plus",
    title="MBPP+",
    n=378,
    k=8,
    metric="pass@1",
    read=read,
    prompt=then(INSTRUCTION),
    verifier="code",
    licence="Apache-2.0",
    source="evalplus/mbppplus",
    remarks="not in the paper; tests that compare with a reference function need numpy in the sandbox",
)
