"""A user thinks of a number between two bounds; the environment `guess` answers "higher" or "lower".

The bounds of a problem are its content, the number is hidden. Six guesses always suffice to those who halve the range.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from r1kit.data.worlds.task import Task

name = "guess"
MAX_GUESSES = 6
WIDTHS = {1: (4, 7), 2: (8, 15), 3: (16, 31), 4: (32, 45), 5: (46, 63)}  # by level
QUESTION = "I think of a number from {} to {}. Guess it."


def make(rng: Random, level: int) -> Task:
    """Draw a task; its facts are the bounds."""
    low, width = rng.randint(1, 99), rng.randint(*WIDTHS[level])
    high = low + width - 1
    return Task(name, level, (low, high), str(rng.randint(low, high)), "math", {"bounds": (low, high)})


def question(task: Task, rng: Random, language: str) -> str:
    """Word the task."""
    return QUESTION.format(*task.facts)


def turn(low: int, high: int, number: int) -> str:
    """Return a guess, after the range that is left."""
    return f"<think>\n{low} to {high}\n</think>\n\\boxed{{{number}}}"


def episode(task: Task, rng: Random) -> list[dict[str, str]]:
    """Return an episode that tracks the range rightly, and guesses any number in it."""
    (low, high), hidden, messages = task.facts, int(task.answer), list[dict[str, str]]()
    while len(messages) < 2 * MAX_GUESSES:
        guess = rng.randint(low, high)
        messages.append({"role": "assistant", "content": turn(low, high, guess)})
        if guess == hidden:
            break
        low, high = (guess + 1, high) if guess < hidden else (low, guess - 1)
        messages.append({"role": "user", "content": "higher" if guess < hidden else "lower"})
    return messages[: len(messages) - (messages[-1]["role"] == "user")]


def records(count: int) -> Iterator[dict[str, Any]]:
    """Yield the cold-start records: episodes about training problems of all levels."""
    rng = Random(f"{name}:records")
    while count:
        task = make(rng, 1 + count % 5)
        if not task.held_out:
            yield {"prompt": question(task, rng, "en"), "episode": episode(task, rng)}
            count -= 1
