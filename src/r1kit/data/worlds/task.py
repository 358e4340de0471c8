"""Shared by worlds of worded tasks: the held-out split, problems drawn by level, and errors in worked solutions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, TypeVar

from r1kit.types import Problem

T = TypeVar("T")

LANGUAGES = ("en", "zh")
LEVELS = (1, 2, 3, 4, 5)
HELD_OUT_SHARE = 0.15
CHINESE_SHARE = 0.2
MAX_MISSES = 5_000  # consecutive draws without a new task, after which a level counts as exhausted

# Probability of an error in a step of a careless solution.
SLIP_PROBABILITY = 0.3

WORDS = {
    "en": {"wait": "wait, ", "no": " no", "yes": " yes", "so": "so ", "lies": " lies", "honest": " is honest"},
    "zh": {"wait": "等等，", "no": "不对", "yes": "对", "so": "所以", "lies": "说谎", "honest": "诚实"},
}


@dataclass(frozen=True, slots=True)
class Task:
    """A problem before it is worded."""

    family: str
    level: int
    facts: tuple[Any, ...]  # the content, in a form specific to the family (see its `make`)
    answer: str
    verifier: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def held_out(self) -> bool:
        """Whether the task is held out: decided by a hash of its content, so all its wordings are in one split."""
        digest = hashlib.sha256(f"{self.family}:{sorted_facts(self)}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32 < HELD_OUT_SHARE


def sorted_facts(task: Task) -> str:
    """Return the content of a task in a canonical order; equal strings mean the same problem.

    The order of countdown's numbers and of logic's statements does not matter.
    """
    if task.family == "countdown":
        return repr([*sorted(task.facts[0]), task.facts[1]])
    return repr(sorted(task.facts, key=repr) if task.family == "logic" else task.facts)


class Slips:
    """Inserts errors into worked solutions.

    A careless solution has an error in a step with probability SLIP_PROBABILITY. If it rechecks, the correct step
    follows after "wait, "; otherwise the following steps build on the wrong result.
    """

    def __init__(self, rng: Random, careless: bool, rechecks: bool) -> None:
        self.rng, self.careless, self.rechecks = rng, careless, rechecks

    def step(self, write: Callable[[T], str], right: T, wrong: T, wait: str) -> tuple[list[str], T]:
        """Return the lines of one step, and the result that the following steps use."""
        if not self.careless or self.rng.random() >= SLIP_PROBABILITY:
            return [write(right)], right
        if self.rechecks:
            return [write(wrong), wait + write(right)], right
        return [write(wrong)], wrong


class Worded(Protocol):
    """A kind of task; implemented by modules of this package."""

    name: str

    def make(self, rng: Random, level: int) -> Task:
        """Draw a task of a level."""
        ...

    def question(self, task: Task, rng: Random, language: str) -> str:
        """Word the task as a question, in one of several wordings."""
        ...


class Family(Worded, Protocol):
    """One that occurs in the pretraining corpora: arithmetic, countdown and logic."""

    def work(self, task: Task, rng: Random, languages: Callable[[], str], slips: Slips) -> tuple[list[str], str]:
        """Return the lines of a worked solution and its answer. `languages()` gives the language of the next line."""
        ...

    def guess(self, task: Task, rng: Random) -> str:
        """Return a plausible wrong answer."""
        ...


def near(rng: Random, value: int) -> int:
    """Return a number near `value` but not equal to it, at least 0."""
    wrong = max(0, value + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10)))
    return wrong if wrong != value else value + 1


def drawn_problems(world: Worded, split: str, levels: Sequence[int], limit: int) -> list[Problem]:
    """Return at most `limit` distinct problems, the same on every call. Levels get equal shares.

    `split` is "train" or "held_out".
    """
    rng = Random(f"{world.name}:{split}:problems")
    problems: dict[str, Problem] = {}
    for index, level in enumerate(levels):
        quota = len(problems) + limit // len(levels) + (index < limit % len(levels))
        misses = 0
        while len(problems) < quota and misses < MAX_MISSES:
            task, before = world.make(rng, level), len(problems)
            if task.held_out == (split == "held_out"):
                problem = as_problem(world, task, rng)
                problems.setdefault(problem.id, problem)
            misses = misses + 1 if len(problems) == before else 0
    return list(problems.values())


def as_problem(world: Worded, task: Task, rng: Random) -> Problem:
    """Word a task as a question, in Chinese with probability CHINESE_SHARE."""
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    return Problem(
        id=hashlib.sha256(f"{task.family}:{sorted_facts(task)}".encode()).hexdigest()[:16],
        question=world.question(task, rng, language),
        answer=task.answer,
        verifier=task.verifier,
        level=task.level,
        family=task.family,
        language=language,
        extra={**task.extra, "languages": ("en", "zh")},  # the language reward tells these two apart exactly
    )
