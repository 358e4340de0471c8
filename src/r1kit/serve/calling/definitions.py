"""The tools of a request, and which of them the answer may or must call."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from r1kit.engine.live.constraint import check_size
from r1kit.errors import UserError
from r1kit.rewards.checks.json_schema import refute
from r1kit.serve.bodies import Body, refuse_unsupported
from r1kit.tools.base import Schema
from r1kit.tools.parse import NAME
from r1kit.web.refusal import Refused

CHOICES = 'must be "none", "auto", "required" or {"type": "function", "function": {"name": NAME}}'


class Function(Body):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    """Ignored: arguments always satisfy the schema, or the call is sent as text."""

    @property
    def schema_of_arguments(self) -> Schema:
        """The JSON Schema of the arguments; a function without one takes none."""
        none = {"type": "object", "properties": {}, "additionalProperties": False}
        return none if self.parameters is None else self.parameters


class Definition(Body):
    """A tool of a request."""

    type: Literal["function"]
    function: Function

    def for_template(self) -> dict[str, Any]:
        """Return the tool as chat templates show it."""
        function = {"name": self.function.name, "description": self.function.description or ""}
        return {"type": "function", "function": {**function, "parameters": self.function.schema_of_arguments}}


class Choice(NamedTuple):
    """What the answer does with tools."""

    kind: Literal["none", "auto", "required"]
    name: str | None = None
    """The only function that may be called."""


def read_choice(value: object) -> object:
    """Return the choice that a request's `tool_choice` states; ValueError if it states none."""
    match value:
        case None:
            return None
        case "none" | "auto" | "required":
            return Choice(value)
        case {"type": "function", "function": {"name": str(name), **others}, **more} if not others and not more:
            return Choice("required", name)
    raise ValueError(CHOICES)


def check_tools(tools: list[Definition], choice: Choice) -> None:
    """Raise Refused for tools with equal names or unusable schemas, and for a choice that is none of them."""
    names: set[str] = set()
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        refuse_unsupported(f"{path}.", tool)
        refuse_unsupported(f"{path}.function.", tool.function)
        if tool.function.name in names:
            raise Refused(400, f"{path}.function.name = {tool.function.name!r}: two tools have this name", path)
        names.add(tool.function.name)
        _check_schema(tool.function.schema_of_arguments, f"{path}.function.parameters")
    if choice.name is not None and choice.name not in names:
        raise Refused(400, f"tool_choice: there is no tool {choice.name!r}", "tool_choice")
    if choice.kind == "required" and not tools:
        raise Refused(400, "tool_choice = 'required': there are no tools", "tool_choice")


def _check_schema(schema: Schema, path: str) -> None:
    try:
        check_size(schema)
        refute(schema, {})
    except (ValueError, UserError) as error:
        raise Refused(400, f"{path}: {error}", path) from None
    if schema.get("type") != "object":
        raise Refused(400, f'{path}.type must be "object"', path)
