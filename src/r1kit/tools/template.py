"""What a chat template can do with tools, tried by rendering a conversation with a call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from r1kit.data.template import bos_ids, render_chat, with_bos
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


def break_tokens(text: str, tokenizer: PreTrainedTokenizerBase, mark: str) -> str:
    """Break every added token that a text spells out, such as `<|im_end|>`, by a mark behind its first character.

    A tool's result may hold anything. Encoded by `encode_broken`, it is text, and ends no turn.
    """
    tokens = sorted({str(added) for added in tokenizer.added_tokens_decoder.values()}, key=len, reverse=True)
    if not tokens:
        return text
    return re.sub("|".join(map(re.escape, tokens)), lambda match: match[0][:1] + mark + match[0][1:], text)


def encode_broken(text: str, tokenizer: PreTrainedTokenizerBase, mark: str) -> list[int]:
    """Return the token ids of a rendered prompt, its BOS once. What stands on both sides of a mark is no token."""
    pieces = [tokenizer.encode(piece, add_special_tokens=False) for piece in text.split(mark)]
    return with_bos([token for piece in pieces for token in piece], bos_ids(tokenizer))
