"""The interface of environments.

    prompt -> turn of the policy -> step: a message -> turn of the policy -> step: None -> score, close

A turn ends with EOS, or with a text of `Environment.stop`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from r1kit.tools.parse import Style
from r1kit.types import Problem

Role = Literal["environment", "user", "tool"]
Result: TypeAlias = "Message | Sequence[Message] | None"
"""What follows a turn: a message, several of the roles "user" and "tool", or None if the episode is over."""


@dataclass(frozen=True, slots=True)
class Message:
    """What an environment writes after a turn. The policy reads it and is never trained on it."""

    content: str
    role: Role = "environment"
    """"environment" continues the policy's own text as it stands, such as a result in the middle of its reasoning.
    "user" and "tool" are messages of the chat template, after which the policy begins a new answer."""


class Episode(Protocol):
    """One episode. Every call runs in a thread of its own, one after the other, and has a time limit.

    Calls may be `async`. An exception, or a call that takes too long, masks this episode and no other.
    """

    def step(self, text: str) -> Result | Awaitable[Result]:
        """Return what follows a turn of the policy. `text` is that turn alone."""
        ...

    def score(self) -> float | Awaitable[float | None] | None:
        """Return the reward `environment` of the episode; None if it gives none."""
        ...

    def close(self) -> Awaitable[None] | None:
        """Free what the episode holds. Called once, also after a failure."""
        ...


class Environment(Protocol):
    """Begins episodes. All episodes of a run share it."""

    @property
    def stop(self) -> Sequence[str]:
        """Texts that end a turn of the policy, besides EOS."""
        ...

    @property
    def max_turns(self) -> int:
        """Turns of an episode, at most. One that would go on is cut off, as by the limit of tokens."""
        ...

    def start(self, problem: Problem, seed: int) -> Episode:
        """Begin an episode about a problem. Equal seeds must begin equal episodes, or no run can be repeated."""
        ...


class ToolEnvironment(Environment, Protocol):
    """An environment that offers tools in the prompts, in the form of the model's chat template."""

    tools: Sequence[Mapping[str, Any]]
    """Their definitions, as OpenAI's API has them. Problems that bring their own keep those."""
    style: Style | None
    """How the chat template writes calls, None if in no known form. It is set before the first episode begins."""
