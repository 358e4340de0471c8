"""A user who thinks of a number, and says whether a guess is too low or too high: `world:guess`."""

from __future__ import annotations

import re
from math import log

from r1kit.environments.base import Message
from r1kit.types import Problem

_NUMBER = re.compile(r"[0-9]{1,9}")


class Guess:
    """The environment: the hidden number is the problem's answer."""

    stop = ()
    max_turns = 6

    def start(self, problem: Problem, seed: int) -> User:
        """See `Environment.start`."""
        low, high = problem.extra.get("bounds") or (int(problem.answer), int(problem.answer))
        return User(int(problem.answer), low, high)


class User:
    """The user of one episode."""

    def __init__(self, number: int, low: int, high: int) -> None:
        """Think of a number between two bounds, which the policy knows."""
        self.number, self.guessed = number, False
        self.low, self.high, self.width = low, high, high - low + 1  # what is left, and what was at first

    def step(self, text: str) -> Message | None:
        """See `Episode.step`. The guess is the last number of the turn."""
        numbers = _NUMBER.findall(text)
        if not numbers:
            return Message("Say a number.", "user")
        guess = int(numbers[-1])
        self.guessed = guess == self.number
        if guess < self.number:
            self.low = max(self.low, guess + 1)
        else:
            self.high = min(self.high, guess - 1)
        return None if self.guessed else Message("higher" if guess < self.number else "lower", "user")

    def score(self) -> float:
        """See `Episode.score`: 1 for the number; else half of the share of the uncertainty that is gone, in bits.

        Whether a number is found depends on luck. How fast its range shrinks depends on the policy.
        """
        if self.guessed:
            return 1.0
        return 0.0 if self.width == 1 else 0.5 * (1 - log(self.high - self.low + 1) / log(self.width))

    def close(self) -> None:
        """See `Episode.close`."""
