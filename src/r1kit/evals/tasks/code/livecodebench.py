"""LiveCodeBench: problems of programming contests, in a window of dates."""

from __future__ import annotations

import base64
import json
import pickletools
import re
import zlib
from dataclasses import replace
from functools import partial
from typing import Any

from r1kit.data.store import DataError
from r1kit.errors import UserError
from r1kit.evals.task import Row, Task, make_problem, text
from r1kit.types import Problem

LEVELS = {"easy": 1, "medium": 2, "hard": 3}
WINDOW = ("2024-08", "2025-01")
_MONTHS = re.compile(r"(\d{4}-\d{2})\.\.(\d{4}-\d{2})")
# What pickling one text writes. No opcode that imports or calls is among them.
_PLAIN_OPCODES = {"PROTO", "FRAME", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINPUT", "MEMOIZE", "STOP"}


def read(row: Row, window: tuple[str, str] = WINDOW) -> Problem | None:
    """Read a row of code_generation_lite; None outside the window of months."""
    if not window[0] <= text(row, "contest_date")[:7] <= window[1]:
        return None
    tests = [*json.loads(text(row, "public_test_cases")), *_private_tests(text(row, "private_test_cases"))]
    starter = str(row.get("starter_code") or "").strip()
    metadata = json.loads(str(row.get("metadata") or "{}"))
    name = metadata.get("func_name")
    function = f"Solution().{name}" if name and "class Solution" in starter else name
    difficulty = text(row, "difficulty").lower()
    return make_problem(
        text(row, "question_content"),
        "",
        level=LEVELS.get(difficulty, 0),
        family=difficulty,
        tests=[{"input": test["input"], "output": test["output"]} for test in tests],
        mode="call" if function else "stdin",
        function=function,
        language="python",
        starter=starter,
    )


def _private_tests(packed: str) -> list[dict[str, Any]]:
    """Return the private tests: JSON, or JSON in a pickle that is compressed. The pickle is read, never loaded."""
    if packed.lstrip().startswith("["):
        tests: list[dict[str, Any]] = json.loads(packed)
        return tests
    texts = []
    for opcode, argument, _ in pickletools.genops(zlib.decompress(base64.b64decode(packed))):
        if opcode.name not in _PLAIN_OPCODES:
            raise DataError(f"private_test_cases: the pickle has the opcode {opcode.name}: must be one text")
        if isinstance(argument, str):
            texts.append(argument)
    tests = json.loads("".join(texts))
    return tests


def prompt(problem: Problem) -> str:
    """Ask for a program that reads stdin, or for the class that the starter code begins."""
    if starter := problem.extra["starter"]:
        how = f"Use this starter code, and respond with one block of code (```python):\n\n```python\n{starter}\n```"
    else:
        how = (
            "Read the input from stdin and write the answer to stdout. Do not run the examples in the program. Respond "
            "with one block of code (```python)."
        )
    return f"Write a correct Python program that passes all tests of this problem.\n\n{problem.question}\n\n{how}"


def vary(task: Task, window: str) -> Task:
    """Return the problems of another window of months."""
    months = _MONTHS.fullmatch(window)
    if window != "all" and (months is None or months[1] > months[2]):
        raise UserError(f"{task.name}:{window}: must be {task.variants}")
    chosen = ("0000-00", "9999-99") if months is None else (months[1], months[2])
    return replace(task, read=partial(read, window=chosen))


TASK = Task(
    name="livecodebench",
    title="LiveCodeBench",
    n=279,
    k=8,
    metric="pass@1",
    read=read,
    prompt=prompt,
    verifier="code",
    licence="code MIT; the problems belong to the contest sites",
    source="livecodebench/code_generation_lite",
    files=("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl"),
    remarks="release 5 from August 2024 to January 2025: 279 problems. The paper's percentages fit 112 of them, so "
    "expect a few points of difference. A program without a block of code is wrong",
    variants="YYYY-MM..YYYY-MM (default 2024-08..2025-01) or all",
    vary=vary,
)
