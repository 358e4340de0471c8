"""Part the content of a growing completion into text and calls of tools."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r1kit.engine.live.base import Constraint
from r1kit.serve.text import Trimmed
from r1kit.tools.base import BrokenCall, Schema, ToolCall
from r1kit.tools.parse import FORMS, CallReader, Part, Style


class CallParser:
    """Reads calls that fit one of the tools. All else is text, also a call that is broken or fits none."""

    def __init__(self, style: Style, schemas: Mapping[str, Schema]) -> None:
        self._reader, self._content = CallReader(style, schemas), Trimmed()
        self.has_called = False

    def feed(self, text: str) -> tuple[str, list[ToolCall]]:
        """Return the text and the calls that a piece of content completes."""
        return self._parted(self._reader.feed(text))

    def finish(self) -> tuple[str, list[ToolCall]]:
        """Return what was held back."""
        return self._parted(self._reader.finish())

    def _parted(self, parts: list[Part]) -> tuple[str, list[ToolCall]]:
        calls = []
        for part in parts:
            if isinstance(part, ToolCall):
                calls.append(ToolCall(f"call_{uuid.uuid4().hex}", part.name, part.arguments))
            else:
                self._content.add(part.text if isinstance(part, BrokenCall) else part)
        self.has_called |= bool(calls)
        return self._content.take(), calls


def call_entry(call: ToolCall) -> dict[str, Any]:
    """Return a call as OpenAI's API writes it."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


@dataclass(frozen=True, slots=True)
class Calling:
    """How the completions of a request call tools."""

    style: Style
    schemas: Mapping[str, Schema]
    constraint: Constraint | None

    @property
    def tags(self) -> tuple[str, str] | None:
        """The texts that begin and end a call; None if calls have none."""
        form = FORMS[self.style]
        return (form.begin, form.end) if form.begin else None

    def parser(self) -> CallParser:
        """Return what reads the calls of one completion."""
        return CallParser(self.style, self.schemas)
