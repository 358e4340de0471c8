"""Encode what environments and tools have written: whatever it holds, it is text and ends no turn."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from r1kit.data.template import end_of_answer, render_chat
from r1kit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_QUESTION, _ANSWER = "A question.", "An answer."  # show what a chat template puts around


def break_tokens(text: str, tokenizer: PreTrainedTokenizerBase, mark: str) -> str:
    """Break every added token that a text spells out, such as `<|im_end|>`, by a mark behind its first character."""
    added = (str(token) for token in tokenizer.added_tokens_decoder.values())
    tokens = sorted({*tokenizer.all_special_tokens, *added}, key=len, reverse=True)
    if not tokens:
        return text
    return re.sub("|".join(map(re.escape, tokens)), lambda match: match[0][:1] + mark + match[0][1:], text)


def encode_broken(text: str, tokenizer: PreTrainedTokenizerBase, mark: str) -> list[int]:
    """Return the token ids of a text, without BOS. What stands on both sides of a mark is no token."""
    pieces = [tokenizer.encode(piece, add_special_tokens=False) for piece in text.split(mark)]
    return [token for piece in pieces for token in piece]


class MessageEncoder:
    """Encodes messages in the middle of an episode for one tokenizer, without encoding their history again.

    Their content never becomes an added token, whatever it holds.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.end = tokenizer, end_of_answer(tokenizer)
        self._frame = lru_cache(self._frame_of)

    def encode(self, content: str, role: str, after_end: bool) -> list[int]:
        """Return the tokens of a message.

        Args:
            content: The message.
            role: "environment" for text as it stands, else a role of the chat template.
            after_end: Whether the tokens before end with the token that ends an answer.

        Raises:
            UserError: The chat template cannot show a message with this role.
        """
        return self.encode_all([(role, content)], after_end)

    def encode_all(self, messages: Sequence[tuple[str, str]], after_end: bool) -> list[int]:
        """Return the tokens of consecutive messages, given as (role, content). See `encode`.

        Several have roles of the chat template, which may frame them together, as results of tools.
        """
        roles = tuple(role for role, _ in messages)
        frame = ("",) * (len(roles) + 1) if {*roles} == {"environment"} else self._frame(roles)
        mark = uuid.uuid4().hex  # no text can hold it
        contents = [break_tokens(content, self.tokenizer, mark) for _, content in messages]
        text = frame[0] + "".join(map("".join, zip(contents, frame[1:], strict=True)))
        ids = encode_broken(text, self.tokenizer, mark)
        return ids[1:] if after_end and ids[:1] == [self.end] else ids

    def _frame_of(self, roles: Sequence[str]) -> tuple[str, ...]:
        """Return the texts from an answer to the content of a message, between messages, and to the next answer."""
        shown = [f"Message {number}." for number in range(len(roles))]
        messages = [("user", _QUESTION), ("assistant", _ANSWER), *zip(roles, shown, strict=True)]
        rows = [{"role": role, "content": content} for role, content in messages]
        text = render_chat(rows, self.tokenizer) if getattr(self.tokenizer, "chat_template", None) else ""
        parts = re.split("|".join(map(re.escape, shown)), text.rpartition(_ANSWER)[2])
        if _ANSWER not in text or len(parts) != len(shown) + 1:
            names = " or ".join(map(repr, dict.fromkeys(roles)))
            raise UserError(
                f"the chat template shows no message with the role {names} after an answer: this environment needs "
                'template = "chat" and a tokenizer whose chat template does'
            )
        return tuple(parts)
