"""What a chat template can do with tools, tried by rendering a conversation with a call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from r1kit.data.template import render_chat
from r1kit.errors import UserError
from r1kit.tools.parse import FORMS, Style

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DESCRIBED, CALLED, RETURNED = "shown_tool", "called_tool", "A result."
_PARAMETERS = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}


def call_style(tokenizer: PreTrainedTokenizerBase) -> Style | None:
    """Return how calls are written by the chat template.

    None if it does not show tools, calls and results, or writes calls in a form that is not in FORMS.
    """
    function: dict[str, Any] = {"name": DESCRIBED, "description": "A tool.", "parameters": _PARAMETERS}
    call: dict[str, Any] = {
        "id": "call00000",
        "type": "function",
        "function": {"name": CALLED, "arguments": {"x": "y"}},
    }
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "A question."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": CALLED, "tool_call_id": call["id"], "content": RETURNED},
    ]
    try:
        text = render_chat(messages, tokenizer, [{"type": "function", "function": function}])
    except UserError:
        return None
    if DESCRIBED not in text or RETURNED not in text:
        return None
    for style, form in FORMS.items():
        written = rf'\{{\s*"name"\s*:\s*"{CALLED}"\s*,\s*"{form.key}"\s*:\s*[{{"]'
        if re.search(re.escape(form.begin) + r"\s*" + written, text):
            return style
    return None
