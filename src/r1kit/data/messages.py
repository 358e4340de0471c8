"""Encode messages that an environment writes in the middle of an episode, without encoding its history again."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from r1kit.data.template import end_of_answer, render_chat
from r1kit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_QUESTION, _ANSWER, _MESSAGE = "A question.", "An answer.", "A message."  # show what a chat template puts around


class MessageEncoder:
    """Encodes messages for one tokenizer. Their content never becomes a special token, whatever it holds."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.end = tokenizer, end_of_answer(tokenizer)
        added = (str(token) for token in tokenizer.added_tokens_decoder.values())
        self.special = {*tokenizer.all_special_tokens, *added}
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
        before, after = ("", "") if role == "environment" else self._frame(role)
        if any(token in content for token in self.special):
            plain = self.tokenizer.encode(content, add_special_tokens=False, split_special_tokens=True)
            ids = [*self._encode(before), *plain, *self._encode(after)]
        else:  # in one piece, as in a rendered conversation
            ids = self._encode(before + content + after)
        return ids[1:] if after_end and ids[:1] == [self.end] else ids

    def _encode(self, text: str) -> list[int]:
        return [*self.tokenizer.encode(text, add_special_tokens=False)]

    def _frame_of(self, role: str) -> tuple[str, str]:
        """Return the texts from an answer to the content of a message, and from there to the next answer."""
        messages = [("user", _QUESTION), ("assistant", _ANSWER), (role, _MESSAGE)]
        text = render_chat([{"role": each, "content": content} for each, content in messages], self.tokenizer)
        before, shown, after = text.rpartition(_ANSWER)[2].partition(_MESSAGE)
        if _ANSWER not in text or not shown:
            raise UserError(
                f"the chat template shows no message with the role {role!r} after an answer: this environment needs "
                'template = "chat" and a tokenizer whose chat template does'
            )
        return before, after
