"""Arithmetic expressions such as `7*6+13-4`; the level sets the number of operations.

Every intermediate result lies in 0..99.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from r1kit.data.worlds.task import WORDS, Slips, Task, near

name = "arithmetic"
OPERATIONS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6}  # by level
QUESTIONS = {
    "en": ("What is {}?", "Compute {}.", "Work out {}.", "Find {}.", "How much is {}?"),
    "zh": ("{}等于多少？", "计算{}。", "求{}的值。", "{}是多少？"),
}


def make(rng: Random, level: int) -> Task:
    """Draw a task; its facts are (first number, ((operator, number), ...))."""
    if rng.random() < 0.35:
        first, factor = rng.randint(2, 9), rng.randint(2, 9)
        steps, value = [("*", factor)], first * factor
    else:
        first = value = rng.randint(1, 50)
        steps = []
    while len(steps) < OPERATIONS[level]:
        number = rng.randint(1, 20)
        allowed = [op for op, result in (("+", value + number), ("-", value - number)) if 0 <= result <= 99]
        if allowed:
            steps.append((rng.choice(allowed), number))
            value = apply(value, *steps[-1])
    return Task(name, level, (first, tuple(steps)), str(value), "math")


def question(task: Task, rng: Random, language: str) -> str:
    """Word the task."""
    first, steps = task.facts
    return rng.choice(QUESTIONS[language]).format(str(first) + "".join(f"{op}{number}" for op, number in steps))


def work(task: Task, rng: Random, languages: Callable[[], str], slips: Slips) -> tuple[list[str], str]:
    """Solve from left to right, one operation a line."""
    value, steps = task.facts
    lines: list[str] = []
    for op, number in steps:
        words = WORDS[languages()]
        lead = words["so"] if rng.random() < 0.15 else ""
        right = apply(value, op, number)
        write = partial(_line, f"{lead}{value}{op}{number}=")
        written, value = slips.step(write, right, near(rng, right), words["wait"])
        lines += written
    return lines, str(value)


def _line(left_side: str, result: int) -> str:
    return f"{left_side}{result}"


def guess(task: Task, rng: Random) -> str:
    """Return a number near the answer."""
    return str(near(rng, int(task.answer)))


def apply(value: int, op: str, number: int) -> int:
    """Return `value op number` for an operator among + - *."""
    return {"+": value + number, "-": value - number, "*": value * number}[op]
