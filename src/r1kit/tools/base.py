"""What a tool is, what a call of it holds, and the tools of one episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from r1kit.rewards.checks.json_schema import refute

MAX_RESULT = 4_000  # characters of a result: a model's context is small, and a tool may print without end
CUT = "\n[... {count:,} characters left out]"

Schema = Mapping[str, Any]
Run = Callable[[Mapping[str, Any]], str]
"""Takes arguments that satisfy the tool's schema and returns a text. Raises ToolError."""


class ToolError(Exception):
    """A call failed because of its arguments. The model reads the message and may call again."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model wrote. Only its form has been checked, not whether there is such a tool."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BrokenCall:
    """A text that begins like a call and is none."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model reads after a call."""

    text: str
    succeeded: bool


@dataclass(frozen=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: Letters, digits, "_" and "-".
        description: Tells the model what the function does.
        parameters: The JSON Schema of its arguments, an object.
        start: Begins an episode: returns the function with a state of its own.
    """

    name: str
    description: str
    parameters: Schema
    start: Callable[[], Run]

    def definition(self) -> dict[str, Any]:
        """Return the tool as chat templates and OpenAI's API describe it."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


@dataclass
class ToolSession:
    """The tools of one episode. What one of them keeps between calls ends with the session."""

    tools: Sequence[Tool]
    outcomes: list[ToolResult] = field(default_factory=list)
    """Results of all calls so far."""

    def __post_init__(self) -> None:
        self._schemas = {tool.name: tool.parameters for tool in self.tools}
        self._run = {tool.name: tool.start() for tool in self.tools}

    def call(self, call: ToolCall | BrokenCall) -> ToolResult:
        """Run a call and return its result, at most MAX_RESULT characters.

        Raises:
            InfraError: The sandbox failed. The call says nothing about the model, so its episode must be masked.
        """
        try:
            result = ToolResult(_cut(self._called(call)), True)
        except ToolError as error:
            result = ToolResult(_cut(f"error: {error}"), False)
        self.outcomes.append(result)
        return result

    def _called(self, call: ToolCall | BrokenCall) -> str:
        if isinstance(call, BrokenCall):
            raise ToolError(call.reason)
        if (fault := check_arguments(call, self._schemas)) is not None:
            raise ToolError(fault)
        return self._run[call.name](call.arguments)


def check_arguments(call: ToolCall, schemas: Mapping[str, Schema]) -> str | None:
    """Return why a call fits none of the tools, by the schemas of their arguments; None if it fits one."""
    if call.name not in schemas:
        return f"there is no tool {call.name!r}: use {', '.join(schemas) or 'none'}"
    fault = refute(schemas[call.name], dict(call.arguments))
    return None if fault is None else f"the arguments of {call.name} do not satisfy its schema: {fault}"


def success_rate(outcomes: Sequence[ToolResult]) -> float:
    """Return the reward for tool use: the share of calls that parsed and succeeded, 0 without any call."""
    return sum(outcome.succeeded for outcome in outcomes) / max(1, len(outcomes))


def _cut(text: str) -> str:
    left = len(text) - MAX_RESULT
    return text if left <= 0 else text[:MAX_RESULT] + CUT.format(count=left)
