"""What every family of the sprout world shares: tasks, which of them are held out, and how solutions go wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

LANGUAGES = ("en", "zh")
LEVELS = (1, 2, 3, 4, 5)
HELD_OUT_SHARE = 0.15

# A worked step goes wrong with this probability when it is written carelessly.
SLIP_PROBABILITY = 0.3

WORDS = {
    "en": {"wait": "wait, ", "no": " no", "yes": " yes", "so": "so ", "lies": " lies", "honest": " is honest"},
    "zh": {"wait": "等等，", "no": "不对", "yes": "对", "so": "所以", "lies": "说谎", "honest": "诚实"},
}


@dataclass(frozen=True, slots=True)
class Task:
    """A problem before it is put into words."""

    family: str
    level: int
    facts: tuple[Any, ...]  # what the family's own functions read
    answer: str
    verifier: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def held_out(self) -> bool:
        """Split by content, so no wording of a held-out task is ever trained on."""
        digest = hashlib.sha256(f"{self.family}:{sorted_facts(self)}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32 < HELD_OUT_SHARE


def sorted_facts(task: Task) -> str:
    """The content that makes two tasks the same problem: countdown's numbers and logic's statements have no order."""
    if task.family == "countdown":
        return repr(sorted(task.facts[0]) + [task.facts[1]])
    return repr(sorted(task.facts, key=repr) if task.family == "logic" else task.facts)


class Slips:
    """Decides where a worked solution goes wrong, and whether the writer notices.

    careless and not rechecking: the wrong step stands, and what follows builds on it.
    careless and rechecking: "wait, ..." and the right step come next.
    """

    def __init__(self, rng: Random, careless: bool, rechecks: bool):
        self.rng, self.careless, self.rechecks = rng, careless, rechecks

    def step(self, write: Callable[[Any], str], right: Any, wrong: Any, wait: str) -> tuple[list[str], Any]:
        """Lines of one step, and the result the writer believes afterwards."""
        if not self.careless or self.rng.random() >= SLIP_PROBABILITY:
            return [write(right)], right
        if self.rechecks:
            return [write(wrong), wait + write(right)], right
        return [write(wrong)], wrong


class Family(Protocol):
    """A kind of task: making one, wording it, working it out, and guessing at it."""

    name: str

    def make(self, rng: Random, level: int) -> Task: ...

    def question(self, task: Task, rng: Random, language: str) -> str: ...

    def work(self, task: Task, rng: Random, languages: Callable[[], str], slips: Slips) -> tuple[list[str], str]:
        """The lines of a worked solution and the answer it arrives at. `languages()` names each line's language."""
        ...

    def guess(self, task: Task, rng: Random) -> str:
        """A plausible wrong answer."""
        ...


def near(rng: Random, value: int) -> int:
    """A wrong number that looks right, never below 0."""
    wrong = max(0, value + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10)))
    return wrong if wrong != value else value + 1
