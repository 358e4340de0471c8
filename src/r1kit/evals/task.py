"""What a benchmark is: where its data lies, how a row becomes a problem and a prompt, and how answers are graded.

To add a benchmark: one file `evals/tasks/GROUP/NAME.py` that defines `TASK`. It is found by its name.
`evals/sources.py` reads the data.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from r1kit.config import Template
from r1kit.data.language.identify import question_language
from r1kit.data.store import DataError
from r1kit.errors import UserError
from r1kit.evals import tasks
from r1kit.synonyms import nearest
from r1kit.types import Problem

Row = Mapping[str, Any]
CAP = 32_768  # tokens of a completion (paper: section 3)


@dataclass(frozen=True)
class Task:
    """One public benchmark with the protocol of the paper."""

    name: str
    """Name in `--bench` and `bench:NAME`, and of its file."""
    title: str
    n: int
    """Published number of problems."""
    k: int
    """Completions per problem: the paper's, or the fewest that can print its digits."""
    metric: str
    """Headline metric, a key of the summary: "pass@1", "f1", "correct", ..."""
    read: Callable[[Row], Problem | None]
    """Turn a row of the public format into a problem; None for rows that the benchmark leaves out. DataError if a
    field is missing. The question is the bare one, so that contamination is not found in the instructions."""
    prompt: Callable[[Problem], str]
    """Return the text that the user asks: the question with the instructions."""
    verifier: str
    """Grader: a name in `evals.graders`."""
    licence: str
    """Licence of the data."""
    source: str = ""
    """`org/name` or `org/name:config` on the Hugging Face hub; "" if the user brings a file."""
    split: str = "test"
    """Split at the hub."""
    where: str = ""
    """How to get data that the hub does not deliver."""
    shares: bool = False
    """Whether pass@1 is the mean of the grader's value (such as F1), not of right and wrong."""
    template: Template = "chat"
    cap: int = CAP
    """Longest completion in tokens."""
    paper: tuple[str, ...] = ()
    """Rows of the paper's tables that the benchmark stands for, keys of `evals/paper.json`."""
    remarks: str = ""
    """What differs from the paper or cannot be known from it."""
    variants: str = ""
    """What may follow the name after a colon, for the help; "" if nothing may."""
    vary: Callable[[Task, str], Task] | None = None
    """Return the task for a text after the colon. UserError for any that is not allowed."""

    def problem(self, row: Row) -> Problem | None:
        """Read a row; the task's grader grades the problem."""
        problem = self.read(row)
        return None if problem is None else replace(problem, verifier=self.verifier)

    @property
    def group(self) -> str:
        """The folder of the task: "maths", "knowledge", ..."""
        return _modules()[self.name.partition(":")[0]].split(".")[-2]


# -- for the files of tasks ------------------------------------------------------------------------------------------


def value(row: Row, *names: str) -> Any:
    """Return the first of these fields that a row has, in any case. DataError if it has none.

    Public copies of one benchmark differ in the names of their fields only.
    """
    fields = {key.lower(): cell for key, cell in row.items() if cell is not None}
    for name in names:
        if name.lower() in fields:
            return fields[name.lower()]
    raise DataError(
        f"the fields are {', '.join(row) or '(none)'}: must have {' or '.join(names)}. Name your own with a field "
        f"map: {names[0]}=YOURS"
    )


def text(row: Row, *names: str) -> str:
    """Return the first of these fields that a row has, as text without outer blanks."""
    return str(value(row, *names)).strip()


def number(row: Row, *names: str) -> int:
    """Return a field as a whole number; 0 if the row has none or it is no number."""
    fields = {key.lower(): cell for key, cell in row.items()}
    digits = next((str(fields[name]) for name in names if fields.get(name) is not None), "")
    return int(digits) if digits.isdecimal() else 0


def make_problem(question: str, answer: str, *, level: int = 0, family: str = "", **extra: Any) -> Problem:
    """Return a problem whose id is a hash of its question and answer."""
    return Problem(
        id=hashlib.sha256(f"{question}\0{answer}".encode()).hexdigest()[:16],
        question=question,
        answer=answer,
        level=level,
        family=family,
        language=question_language(question),
        extra=extra,
    )


def then(instruction: str) -> Callable[[Problem], str]:
    """Return a prompt that puts an instruction behind the question."""
    return lambda problem: f"{problem.question}\n\n{instruction}"


# -- the registry ----------------------------------------------------------------------------------------------------


def task_names() -> list[str]:
    """Return the names of all benchmarks, by group and name."""
    return list(_modules())


def find_task(name: str) -> Task:
    """Return the benchmark of this name; `NAME:VARIANT` is a variant of it. UserError if there is none."""
    base, colon, variant = name.partition(":")
    if base not in _modules():
        close = nearest(base, _modules())
        hint = f"did you mean {close}? " if close else ""
        raise UserError(f"unknown benchmark {base!r}: {hint}`r1kit benchmarks` lists them: {', '.join(_modules())}")
    task: Task = importlib.import_module(_modules()[base]).TASK
    if not colon:
        return task
    if task.vary is None:
        raise UserError(f"{name}: {base} has no variants; write {base}")
    return replace(task.vary(task, variant), name=name)


@cache
def _modules() -> dict[str, str]:
    """Return name -> module of every task."""
    found = pkgutil.walk_packages(tasks.__path__, f"{tasks.__name__}.")
    return {module.name.rpartition(".")[2]: module.name for module in found if not module.ispkg}
