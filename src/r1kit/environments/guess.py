"""A user who thinks of a number, and says whether a guess is too low or too high: `world:guess`."""

from __future__ import annotations

import re

from r1kit.environments.base import Message
from r1kit.types import Problem

_NUMBER = re.compile(r"[0-9]{1,9}")


class Guess:
    """The environment: the hidden number is the problem's answer."""

    stop = ()
    max_turns = 6

    def start(self, problem: Problem, seed: int) -> User:
        """See `Environment.start`."""
        return User(int(problem.answer))


class User:
    """The user of one episode."""

    def __init__(self, number: int) -> None:
        self.number, self.guessed = number, False

    def step(self, text: str) -> Message | None:
        """See `Episode.step`. The guess is the last number of the turn."""
        numbers = _NUMBER.findall(text)
        if not numbers:
            return Message("Say a number.", "user")
        guess = int(numbers[-1])
        self.guessed = guess == self.number
        return None if self.guessed else Message("higher" if guess < self.number else "lower", "user")

    def score(self) -> float:
        """See `Episode.score`: 1 for the number, 0 for none."""
        return float(self.guessed)

    def close(self) -> None:
        """See `Episode.close`."""
