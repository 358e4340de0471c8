"""A user who thinks of a number, and says whether a guess is too low or too high: `world:guess`."""

from __future__ import annotations

import re
from math import log2
from statistics import fmean

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
        self.low, self.high = low, high  # of what is left
        self.qualities = list[float]()  # of the turns

    def step(self, text: str) -> Message | None:
        """See `Episode.step`. The guess is the last number of the turn."""
        numbers = _NUMBER.findall(text)
        if not numbers:
            self.qualities.append(0.0)
            return Message("Say a number.", "user")
        guess = int(numbers[-1])
        self.qualities.append(quality(guess - self.low, self.high - guess))
        self.guessed = guess == self.number
        if guess < self.number:
            self.low = max(self.low, guess + 1)
        else:
            self.high = min(self.high, guess - 1)
        return None if self.guessed else Message("higher" if guess < self.number else "lower", "user")

    def score(self) -> float:
        """See `Episode.score`: the mean quality of the guesses, 1 for one who always halves the range.

        Whether a number is found also depends on luck, which would drown what a policy does better.
        """
        return fmean(self.qualities) if self.qualities else 0.0

    def close(self) -> None:
        """See `Episode.close`."""


def quality(below: int, above: int) -> float:
    """Return what a guess tells, relative to the best guess in the same range.

    Args:
        below: Numbers of the range below the guess; negative if the guess is outside of the range.
        above: Numbers of the range above it; likewise.

    Returns:
        The information expected of the answer, in bits, relative to that of the middle; 0 outside of the range.
    """
    if below < 0 or above < 0:
        return 0.0
    middle = (below + above) // 2
    best = _information(middle, below + above - middle)
    return _information(below, above) / best if best else 1.0  # a single number is left


def _information(below: int, above: int) -> float:
    """Return the entropy in bits of "lower", "right" and "higher"."""
    width = below + above + 1
    return sum(count / width * log2(width / count) for count in (below, 1, above) if count)
