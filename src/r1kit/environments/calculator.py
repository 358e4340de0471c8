"""A calculator inside the policy's own text: `<calc>12*34</calc>` is answered by `<result>408</result>`."""

from __future__ import annotations

from r1kit.environments.base import Message
from r1kit.tools.base import ToolError
from r1kit.tools.calculator import calculate
from r1kit.types import Problem

OPEN, CLOSE = "<calc>", "</calc>"


def result_of(text: str) -> str:
    """Return the calculator's answer to a turn that ends with a call."""
    _, opened, expression = text.rpartition(CLOSE)[0].rpartition(OPEN)
    try:
        value = calculate(expression) if opened else f"error: no {OPEN}"
    except ToolError as error:
        value = f"error: {error}"
    return f"<result>{value}</result>"


class Calculator:
    """The environment, and every episode of it: it keeps nothing."""

    stop = (CLOSE,)
    max_turns = 9  # eight calls and an answer

    def start(self, problem: Problem, seed: int) -> Calculator:
        """See `Environment.start`."""
        return self

    def step(self, text: str) -> Message | None:
        """See `Episode.step`. A turn without a call is the last one."""
        return Message(result_of(text)) if CLOSE in text else None

    def score(self) -> None:
        """See `Episode.score`: the answer is graded by the problem's verifier."""

    def close(self) -> None:
        """See `Episode.close`."""
