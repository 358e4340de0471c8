"""Calls of tools in a completion, read strictly, at once or while the completion grows.

A call is a JSON object in the form that the chat template shows. A text that only resembles a call is never run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from r1kit.data.response import held_back
from r1kit.rewards.checks.json_schema import NotJson, parse
from r1kit.tools.base import BrokenCall, Schema, ToolCall, check_arguments

Style = Literal["hermes", "openai", "llama"]
Part = str | ToolCall | BrokenCall
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_CALLS = 128  # of one completion; what follows is text
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_LIKE_A_CALL = re.compile(r'\s*\[?\s*\{\s*"(?:name|type|function|id|tool_calls)"\s*:')


@dataclass(frozen=True, slots=True)
class Form:
    """How calls of a style are written."""

    key: str = "arguments"  # of the arguments
    begin: str = ""  # around each call; without them, the complete answer is one call or a list of calls
    end: str = ""


FORMS: Mapping[Style, Form] = {
    "hermes": Form(begin="<tool_call>", end="</tool_call>"),  # Hermes, Qwen, SmolLM3
    "openai": Form(),
    "llama": Form(key="parameters"),  # Llama 3
}


class Parsed(NamedTuple):
    """The parts of a completion."""

    content: str
    calls: list[ToolCall | BrokenCall]


def read_arguments(call_id: str, name: str, arguments: str) -> ToolCall | BrokenCall:
    """Return the call whose arguments are given as JSON, as OpenAI's API writes them."""
    try:
        value = parse(arguments)
    except NotJson as error:
        return BrokenCall(arguments, f"the arguments of {name}: {error}")
    if not isinstance(value, dict):
        return BrokenCall(arguments, f"the arguments of {name} must be a JSON object")
    return ToolCall(call_id, name, value)


def parse_tool_calls(text: str, style: Style, schemas: Mapping[str, Schema] | None = None) -> Parsed:
    """Return the text around the calls of a completion, without surrounding white space, and its calls in order.

    Args:
        text: The completion, without reasoning.
        style: How calls are written.
        schemas: The tools that there are, with the JSON Schema of their arguments. A call that fits none is broken.
            None: only the form of calls is checked.
    """
    reader = CallReader(style, schemas)
    parts = [*reader.feed(text), *reader.finish()]
    content = "".join(part for part in parts if isinstance(part, str))
    return Parsed(content.strip(), [part for part in parts if not isinstance(part, str)])


class CallReader:
    """Parts a growing text into content and calls. What may be the beginning of a call is held back."""

    def __init__(self, style: Style, schemas: Mapping[str, Schema] | None = None) -> None:
        self._form, self._schemas, self._held, self._count = FORMS[style], schemas, "", 0
        self._is_content = False  # all that follows is text

    def feed(self, text: str) -> list[Part]:
        """Return the parts that a text completes."""
        self._held += text
        if self._is_content:
            return self._content(len(self._held))
        if not self._form.begin:
            self._is_content = self._held.lstrip()[:1] not in ("", "{", "[")
            return self._content(len(self._held)) if self._is_content else []
        parts: list[Part] = []
        while (start := self._held.find(self._form.begin)) >= 0 and not self._is_content:
            parts += self._content(start)
            if (end := self._end_of_call()) is None:
                return parts
            call, self._held = self._held[:end], self._held[end:]
            parts.append(self._read_one(call))
        keep = 0 if self._is_content else held_back(self._held, [self._form.begin])
        return parts + self._content(len(self._held) - keep)

    def finish(self) -> list[Part]:
        """Return what was held back."""
        text, self._held = self._held, ""
        if self._is_content or not text:
            return [text] if text else []
        if self._form.begin:
            return [BrokenCall(text, "the call does not end")] if text.startswith(self._form.begin) else [text]
        return self._read_answer(text)

    def _content(self, end: int) -> list[Part]:
        text, self._held = self._held[:end], self._held[end:]
        return [text] if text else []

    def _end_of_call(self) -> int | None:
        """Return where the call at the beginning ends: behind the first closing tag outside of JSON's strings."""
        if self._form.end not in self._held:
            return None
        masked = _STRING.sub(lambda match: "_" * len(match[0]), self._held)
        end, open_string = masked.find(self._form.end), masked.find('"')
        return None if end < 0 or 0 <= open_string < end else end + len(self._form.end)

    def _read(self, value: Any) -> ToolCall:
        """Return the call that a JSON value is. NotJson if it is none."""
        if isinstance(value, dict) and "function" in value and value.keys() <= {"id", "type", "function"}:
            value = value["function"]
        optional = set() if self._form.begin else {"id"}  # Mistral's
        if not isinstance(value, dict) or value.keys() - optional != {"name", self._form.key}:
            raise NotJson(f"a call must be an object with name and {self._form.key}, and nothing else")
        name, arguments = value["name"], value[self._form.key]
        if isinstance(arguments, str) and not self._form.begin:  # OpenAI writes arguments as JSON in a string
            arguments = parse(arguments)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise NotJson(f"name must be 1 to 64 of letters, digits, _ and -, not {str(name)[:100]!r}")
        if not isinstance(arguments, dict):
            raise NotJson(f"{self._form.key} must be an object")
        call = ToolCall(f"call_{self._count}", name, arguments)
        if self._schemas is not None and (fault := check_arguments(call, self._schemas)) is not None:
            raise NotJson(fault)
        self._count += 1
        self._is_content |= self._count == MAX_CALLS
        return call

    def _read_one(self, text: str) -> Part:
        """Return the call between two tags."""
        try:
            return self._read(parse(text[len(self._form.begin) : -len(self._form.end)]))
        except NotJson as error:
            return BrokenCall(text, str(error))

    def _read_answer(self, text: str) -> list[Part]:
        """Return the calls that a complete answer is, or the answer: JSON that is no call is text."""
        try:
            value = parse(text)
            if isinstance(value, dict) and value.keys() == {"tool_calls"}:
                value = value["tool_calls"]
            values = value if isinstance(value, list) else [value]
            if not 0 < len(values) <= MAX_CALLS:
                raise NotJson(f"{len(values)} calls: 1 to {MAX_CALLS} are allowed")
            return [self._read(each) for each in values]
        except NotJson as error:
            return [BrokenCall(text, str(error))] if _LIKE_A_CALL.match(text) else [text]
