"""An environment with scripted messages, for tests and for trying a recipe without tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from r1kit.environments.base import Message
from r1kit.types import Problem

Script = Callable[[Problem, int], Sequence[Message]]


class Scripted:
    """Writes the messages of `script(problem, seed)`, one after each turn; then the episode is over."""

    def __init__(self, script: Script, stop: Sequence[str] = (), max_turns: int = 8) -> None:
        self.script, self.stop, self.max_turns = script, stop, max_turns

    def start(self, problem: Problem, seed: int) -> ScriptedEpisode:
        """See `Environment.start`."""
        return ScriptedEpisode([*self.script(problem, seed)])


class ScriptedEpisode:
    """One episode. Its score is the number of the policy's turns."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages, self.turns, self.closed = messages, 0, False

    def step(self, text: str) -> Message | None:
        """See `Episode.step`."""
        self.turns += 1
        return self.messages.pop(0) if self.messages else None

    def score(self) -> float:
        """See `Episode.score`."""
        return float(self.turns)

    def close(self) -> None:
        """See `Episode.close`."""
        self.closed = True
