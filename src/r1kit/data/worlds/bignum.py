"""Sums, differences and products of numbers with many digits: exact with a calculator, hopeless without.

A level is a number of digits less one.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from r1kit.data.worlds import arithmetic
from r1kit.data.worlds.task import Task

name = "bignum"
OPERATORS = "+-*"


def make(rng: Random, level: int) -> Task:
    """Draw a task; its facts are (number, operator, number)."""
    first, second = (rng.randrange(10**level, 10 ** (level + 1)) for _ in range(2))
    op = rng.choice(OPERATORS)
    if op == "-" and first < second:
        first, second = second, first
    return Task(name, level, (first, op, second), str(arithmetic.apply(first, op, second)), "math")


def question(task: Task, rng: Random, language: str) -> str:
    """Word the task as in `arithmetic`."""
    return rng.choice(arithmetic.QUESTIONS[language]).format(expression(task))


def expression(task: Task) -> str:
    """Return the task as an expression."""
    return "".join(map(str, task.facts))


def with_calculator(task: Task) -> list[dict[str, str]]:
    """Return an episode in the environment `calculator` that solves the task."""
    return [
        {"role": "assistant", "content": f"<think>\n<calc>{expression(task)}</calc>"},
        {"role": "environment", "content": f"<result>{task.answer}</result>"},
        {"role": "assistant", "content": f"\n</think>\n<answer>{task.answer}</answer>"},
    ]


def by_hand(task: Task) -> list[dict[str, str]]:
    """Return a worked solution: sums digit by digit with their carries, products by their partial products."""
    lines = [*_work(*task.facts)]
    text = "\n".join(["<think>", *lines, "</think>", f"<answer>{task.answer}</answer>"])
    return [{"role": "assistant", "content": text}]


def _work(first: int, op: str, second: int) -> Iterator[str]:
    if op != "*":
        yield from _columns(first, op, second)
        return
    total = 0
    for place, digit in enumerate(reversed(str(second))):
        part = first * int(digit) * 10**place
        yield f"{first}*{int(digit) * 10**place}={part}"
        if place:
            yield f"{total}+{part}={total + part}"
        total += part


def _columns(first: int, op: str, second: int) -> Iterator[str]:
    """Yield one line for each column from the right: its digits, what was carried, and the digit that is written."""
    carry, width = 0, len(str(first))
    for top, bottom in zip(reversed(str(first)), reversed(str(second).zfill(width)), strict=True):
        value = int(top) + int(bottom) + carry if op == "+" else int(top) - int(bottom) - carry
        yield f"{top}{op}{bottom}{op}{carry}={value % 10}"
        carry = int(value > 9 or value < 0)


def records(solve: Any, count: int) -> Iterator[dict[str, Any]]:
    """Yield the cold-start records: training problems of all levels, solved by `with_calculator` or `by_hand`."""
    rng = Random(f"{name}:records")
    while count:
        task = make(rng, 1 + count % 5)
        if not task.held_out:
            yield {"prompt": question(task, rng, "en"), "episode": solve(task)}
            count -= 1
