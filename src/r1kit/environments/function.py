"""A Python function as an environment.

    def my_environment(problem, turns):
        return "the next message"   # or an `environments.base.Message`, or a list of these
        return 0.5                  # the episode is over, with this score
        return None                 # the episode is over, without a score of its own

`turns` holds the policy's turns so far, the last one at the end. The function may be `async`, and may have the
attributes `stop` and `max_turns`.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

from r1kit.environments.base import Message
from r1kit.environments.calls import resolved
from r1kit.types import Problem

MAX_TURNS = 8  # unless the function has an attribute `max_turns`


class FunctionEnvironment:
    """The environment."""

    def __init__(self, function: Callable[[Problem, list[str]], Any]) -> None:
        self.function = function
        self.stop = getattr(function, "stop", ())
        self.max_turns = getattr(function, "max_turns", MAX_TURNS)

    def start(self, problem: Problem, seed: int) -> FunctionEpisode:
        """See `Environment.start`."""
        return FunctionEpisode(self.function, problem)


class FunctionEpisode:
    """One episode: the turns so far."""

    def __init__(self, function: Callable[[Problem, list[str]], Any], problem: Problem) -> None:
        self.function, self.problem = function, problem
        self.turns: list[str] = []
        self.result: float | None = None

    def step(self, text: str) -> Message | list[Message] | None:
        """See `Episode.step`."""
        self.turns.append(text)
        answer = resolved(self.function(self.problem, [*self.turns]))
        if isinstance(answer, str):
            return Message(answer)
        if isinstance(answer, Real):
            self.result = float(answer)
            return None
        if answer is None or isinstance(answer, Message | list):
            return answer
        raise TypeError(
            f"returned {type(answer).__name__}: must be a text, a Message, a list of these, a number or None"
        )

    def score(self) -> float | None:
        """See `Episode.score`."""
        return self.result

    def close(self) -> None:
        """See `Episode.close`."""
