"""What a benchmark is: where its data lies, how a row becomes a problem and a prompt, and how answers are graded.

To add a benchmark: one file `evals/tasks/GROUP/NAME.py` that defines `TASK`. It is found by its name.
`evals/named/sources.py` reads the data.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from r1kit.config import Evaluate, Template
from r1kit.data.language.identify import question_language
from r1kit.data.store import DataError
from r1kit.errors import UserError
from r1kit.evals import tasks
from r1kit.synonyms import nearest
from r1kit.types import Problem

Row = Mapping[str, Any]
CAP = 32_768  # tokens of a completion (paper: section 3)
EXAMPLE_ANSWERS = {"math": r"\boxed{{{}}}", "choice": "Answer: {}"}  # verifier -> the answer of a few-shot example
_SHOTS = re.compile(r"([1-9])-shot")


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion of a problem, as a harness gets it."""

    problem: Problem
    text: str
    """What follows the thinking; "" if it is not finished."""
    correct: bool | None
    """Grade; None without one."""
    tokens: int
    """Length of the completion with its thinking."""


@dataclass(frozen=True)
class Harness:
    """The program of a benchmark's authors, which grades answers that r1kit writes or asks an endpoint itself."""

    command: str
    """What to run; {file} is what `write` returned, {folder} its folder, {url} and {model} the endpoint."""
    read: Callable[[Path], dict[str, float]]
    """Return the metrics of the results that the program wrote. DataError if they are none."""
    wrote: Callable[[Path], bool] = lambda path: True
    """Whether a file or folder can be such results."""
    write: Callable[[Sequence[Answer], str, Path], Path] | None = None
    """Write answers in the program's format: (answers, model, folder) -> file. None if the program asks the endpoint
    itself."""


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
    """Grader: a name in `evals.graders`; "" for generated problems, which name their own."""
    licence: str
    """Licence of the data."""
    source: str = ""
    """`org/name` or `org/name:config` on the Hugging Face hub; "" if the user brings a file."""
    split: str = "test"
    """Split at the hub."""
    where: str = ""
    """How to get data that the hub does not deliver."""
    files: tuple[str, ...] = ()
    """Data files in the repository at the hub, for those that `datasets` cannot load."""
    every_config: bool = False
    """Whether all configurations at the hub make up the benchmark; rows get their name in the field `file`."""
    load: Callable[[int | None], list[Problem]] | None = None
    """Make at most so many problems of a benchmark that is generated; None for one that is read."""
    harness: Harness | None = None
    """The benchmark's own program that grades what r1kit writes; None if r1kit grades."""
    template: Template = "chat"
    cap: int = CAP
    """Longest completion in tokens."""
    remarks: str = ""
    """What differs from the paper or cannot be known from it."""
    variants: str = ""
    """What may follow the name after a colon, for the help; "" if nothing may."""
    vary: Callable[[Task, str], Task] | None = None
    """Return the task for a text after the colon. UserError for any that is not allowed."""

    shots: int = 0
    """Examples before each question: problems of the benchmark with their answers, which are then not asked."""

    def problem(self, row: Row) -> Problem | None:
        """Read a row: a problem with the prompt and the grader of the benchmark."""
        problem = self.read(row)
        return problem and replace(problem, verifier=self.verifier, prompt=self.prompt(problem))

    @property
    def group(self) -> str:
        """The folder of the task: "maths", "knowledge", ..."""
        return _modules()[self.name.partition(":")[0]].split(".")[-2]


def measured_as(config: Evaluate, task: Task | None) -> Evaluate:
    """Return a stage as it measures a benchmark: what it leaves open comes from the benchmark.

    An endpoint has its model's template, so there the template is "chat" unless the stage sets it.
    """
    chosen = {} if task is None else {"template": task.template, "samples": task.k, "max_completion_length": task.cap}
    chosen |= {"template": "chat"} if config.endpoint else {}
    return config.model_copy(update={key: own for key, own in chosen.items() if key not in config.model_fields_set})


# -- for the files of tasks ------------------------------------------------------------------------------------------


class MissingField(DataError):
    """A row has none of the fields that a benchmark reads.

    Args:
        row: The row.
        names: The names that the field may have.
    """

    def __init__(self, row: Row, names: Sequence[str]) -> None:
        self.names = names
        super().__init__(self.advice(list(row)))

    def advice(self, columns: Sequence[str]) -> str:
        """Return what is missing and how to name it; `columns` are those of the file."""
        close = next((close for name in self.names if (close := nearest(name, columns))), None)
        return (
            f"the columns are {', '.join(columns) or '(none)'}: must have {' or '.join(self.names)}. Name yours with "
            f"--field {self.names[0]}={close or 'COLUMN'}, in a recipe "
            f'fields = {{ {self.names[0]} = "{close or "COLUMN"}" }}'
        )


def value(row: Row, *names: str) -> Any:
    """Return the first of these fields that a row has, in any case. MissingField if it has none.

    Public copies of one benchmark differ in the names of their fields only.
    """
    fields = {key.lower(): cell for key, cell in row.items() if cell is not None}
    for name in names:
        if name.lower() in fields:
            return fields[name.lower()]
    raise MissingField(row, names)


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
    if task.verifier in EXAMPLE_ANSWERS and (shots := _SHOTS.fullmatch(variant)):
        return replace(task, shots=int(shots[1]), name=name)
    if task.vary is None:
        raise UserError(f"{name}: {base} has no variants; write {base}")
    return replace(task.vary(task, variant), name=name)


@cache
def _modules() -> dict[str, str]:
    """Return name -> module of every task."""
    groups = [group for group in pkgutil.iter_modules(tasks.__path__, f"{tasks.__name__}.") if group.ispkg]
    paths = {group.name: [f"{tasks.__path__[0]}/{group.name.rpartition('.')[2]}"] for group in groups}
    found = (module for name, path in paths.items() for module in pkgutil.iter_modules(path, f"{name}."))
    return {module.name.rpartition(".")[2]: module.name for module in found}
