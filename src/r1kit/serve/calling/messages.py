"""Messages of a conversation, with calls of tools and their results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from r1kit.serve.bodies import Body, refuse_unsupported, text_of
from r1kit.serve.limits import MAX_CALL_ID
from r1kit.tools.base import BrokenCall
from r1kit.tools.parse import MAX_CALLS, NAME, read_arguments
from r1kit.web.refusal import Refused

REASONING_SENT_BACK = (
    "the model does not read earlier reasoning; remove reasoning_content from the message and send its content only"
)
CallId = Annotated[str, Field(min_length=1, max_length=MAX_CALL_ID)]


class CalledFunction(Body):
    """The function that a model called."""

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    arguments: str
    """An object in JSON."""


class Call(Body):
    """A call of a tool, sent back in the message that made it."""

    id: CallId
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None
    """Ignored: clients that collect a stream send it back."""


class Message(Body):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Annotated[str, BeforeValidator(text_of)]
    tool_calls: Annotated[list[Call], Field(default_factory=list, max_length=MAX_CALLS)]
    tool_call_id: CallId | None = None
    reasoning_content: str | None = None
    """Only beside `tool_calls`: the thoughts before a call belong to the answer that follows its result."""

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, data: object) -> object:
        """Take a developer for a system, and let calls stand without a text."""
        if not isinstance(data, dict):
            return data
        data = {**data, "role": "system"} if data.get("role") == "developer" else dict(data)
        if data.get("tool_calls"):
            return {**data, "content": data.get("content") or ""}
        data.pop("tool_calls", None)  # null or []
        return data

    def check(self, path: str) -> None:
        """Raise Refused for fields that do not belong to this message."""
        if self.reasoning_content is not None and not self.tool_calls:
            raise Refused(400, f"{path}.reasoning_content: {REASONING_SENT_BACK}", f"{path}.reasoning_content")
        if self.tool_calls and self.role != "assistant":
            raise Refused(400, f"{path}.tool_calls: a message from {self.role} has none", f"{path}.tool_calls")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            reason = "is missing" if self.role == "tool" else f"a message from {self.role} has none"
            raise Refused(400, f"{path}.tool_call_id: {reason}", f"{path}.tool_call_id")
        refuse_unsupported(f"{path}.", self)
        for index, call in enumerate(self.tool_calls):
            refuse_unsupported(f"{path}.tool_calls[{index}].", call)
            refuse_unsupported(f"{path}.tool_calls[{index}].function.", call.function)


def check_conversation(messages: Sequence[Message]) -> None:
    """Raise Refused unless every call has one result, right behind it, and the last message asks for an answer."""
    waiting: dict[str, str] = {}  # ids of calls without a result -> where they were made
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        message.check(path)
        if message.role == "tool":
            if waiting.pop(str(message.tool_call_id), None) is None:
                reason = "no call of the assistant's message before has this id, or it has a result already"
                raise Refused(400, f"{path}.tool_call_id = {message.tool_call_id!r}: {reason}", f"{path}.tool_call_id")
            continue
        _require_results(waiting)
        for number, call in enumerate(message.tool_calls):
            if call.id in waiting:
                at = f"{path}.tool_calls[{number}].id"
                raise Refused(400, f"{at} = {call.id!r}: two calls of this message have this id", at)
            waiting[call.id] = path
    _require_results(waiting)
    if messages[-1].role not in ("user", "tool"):
        last = messages[-1].role
        raise Refused(400, f"the last message is from {last}: must be from user or tool", "messages")


def _require_results(waiting: dict[str, str]) -> None:
    for call, path in waiting.items():
        reason = f"its call {call!r} has no result: a message with role tool and this tool_call_id must follow"
        raise Refused(400, f"{path}.tool_calls: {reason}", "messages")


def for_template(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as chat templates read them: arguments are objects, and results have the name of their tool.

    Raises:
        Refused: Arguments are not an object in JSON.
    """
    names: dict[str | None, str] = {}
    shown = []
    for index, message in enumerate(messages):
        entry: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            path = f"messages[{index}].tool_calls"
            entry["tool_calls"] = [_call(call, f"{path}[{n}]") for n, call in enumerate(message.tool_calls)]
            names |= {call.id: call.function.name for call in message.tool_calls}
        if message.reasoning_content is not None:
            entry["reasoning_content"] = message.reasoning_content
        if message.role == "tool":
            entry |= {"tool_call_id": message.tool_call_id, "name": names[message.tool_call_id]}
        shown.append(entry)
    return shown


def _call(call: Call, path: str) -> dict[str, Any]:
    read = read_arguments(call.id, call.function.name, call.function.arguments)
    if isinstance(read, BrokenCall):
        at = f"{path}.function.arguments"
        raise Refused(400, f"{at}: {read.reason}", at)
    return {"id": read.id, "type": "function", "function": {"name": read.name, "arguments": read.arguments}}
