"""One served model: its name, its tokenizer, how it is prompted, and its engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from r1kit.config import Template
from r1kit.data.template import encode_prompt, opens_think, render_chat, render_prompt
from r1kit.engine.live.base import LiveEngine
from r1kit.errors import UserError
from r1kit.serve.requests import Message
from r1kit.serve.text import ANSWER_TAGS, END_THINK, ReasoningParser
from r1kit.web.refusal import Refused

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_TOKEN = 256  # characters; a text of more per position of the context is refused without encoding it


@dataclass(frozen=True, slots=True)
class ServedPrompt:
    """A prompt in tokens, and what is known about its completions."""

    token_ids: tuple[int, ...]
    think_open: bool = False  # the prompt ends in `<think>`
    think_tags: bool = False  # the template has think tags
    answer_tags: bool = False  # the template asks for `<answer>` tags

    def parser(self) -> ReasoningParser:
        """Return what parts a completion in reasoning and content."""
        return ReasoningParser(self.think_open, self.answer_tags)

    @property
    def content_begins_after(self) -> str | None:
        """The text that content follows; None if it follows the prompt."""
        return END_THINK if self.think_open or self.think_tags else None


@dataclass(frozen=True)
class ServedModel:
    """A model under the name by which requests ask for it."""

    name: str
    tokenizer: PreTrainedTokenizerBase
    template: Template
    engine: LiveEngine
    created: int = field(default_factory=lambda: int(time.time()))

    def description(self) -> dict[str, object]:
        """Return the model's entry in /v1/models."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "r1kit",
            "max_model_len": self.engine.context_length,
            "template": self.template,
            "conversations": self.reads_conversations,
        }

    @cached_property
    def reads_conversations(self) -> bool:
        """Whether the template shows earlier turns, and not only the last question."""
        if self.template != "chat":
            return False
        turns = [("user", "A question."), ("assistant", "An answer."), ("user", "Another one.")]
        try:
            text = render_chat([{"role": role, "content": content} for role, content in turns], self.tokenizer)
        except UserError:
            return False
        return turns[0][1] in text

    def chat_prompt(self, messages: Sequence[Message]) -> ServedPrompt:
        """Return the prompt of a conversation.

        Raises:
            Refused: The model's template cannot show it.
        """
        template = str(self.tokenizer.chat_template) if self.template == "chat" else ""
        text = self._render(messages)
        return ServedPrompt(
            self._encode(text, "messages"),
            opens_think(text),
            think_tags=END_THINK in template or self.template == "r1-zero",
            answer_tags=ANSWER_TAGS[1] in template or self.template == "r1-zero",
        )

    def text_prompt(self, prompt: str | Sequence[int]) -> ServedPrompt:
        """Return the prompt of a text, or of token ids, that is continued as it is."""
        return ServedPrompt(self._encode(prompt, "prompt") if isinstance(prompt, str) else tuple(prompt))

    def _render(self, messages: Sequence[Message]) -> str:
        if self.template != "chat":
            if len(messages) > 1:
                raise Refused(
                    400,
                    f"{len(messages)} messages: the template {self.template} of {self.name} shows one question of the "
                    "user; send only that",
                    param="messages",
                )
            return render_prompt(messages[0].content, self.template, self.tokenizer)
        marks = [f"Message {index}." for index in range(len(messages))]
        try:
            text = render_chat([{"role": each.role, "content": each.content} for each in messages], self.tokenizer)
            marked = render_chat(
                [{"role": each.role, "content": mark} for each, mark in zip(messages, marks, strict=True)],
                self.tokenizer,
            )
        except UserError as error:
            raise Refused(400, str(error), param="messages") from None
        for index, each in enumerate(messages):
            if marks[index] not in marked:
                raise Refused(
                    400,
                    f"messages[{index}]: the chat template of {self.name} leaves this {each.role} message out; send "
                    "only the last question",
                    param="messages",
                )
        return text

    def _encode(self, text: str, param: str) -> tuple[int, ...]:
        if len(text) > self.engine.context_length * LONGEST_TOKEN:
            limit = self.engine.context_length
            raise Refused(400, f"{param}: {len(text):,} characters; the context has {limit:,} tokens", param=param)
        return tuple(encode_prompt(text, self.tokenizer))
