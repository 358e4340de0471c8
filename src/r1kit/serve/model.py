"""One served model: its name, its tokenizer, how it is prompted, and its engine."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from r1kit.config import Template
from r1kit.data.messages import break_tokens, encode_broken
from r1kit.data.template import bos_ids, encode_prompt, opens_think, render_chat, render_prompt, with_bos
from r1kit.engine.live.base import Constraint, LiveEngine
from r1kit.errors import UserError
from r1kit.serve.calling.grammar import call_constraint
from r1kit.serve.calling.messages import Message, for_template
from r1kit.serve.calling.parser import Calling
from r1kit.serve.requests import ChatRequest
from r1kit.serve.text import ANSWER_TAGS, END_THINK, ReasoningParser
from r1kit.tools.parse import Style
from r1kit.tools.template import call_style
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

    def parser(self, calling: Calling | None = None, has_format: bool = False) -> ReasoningParser:
        """Return what parts a completion in reasoning and content, which may have calls of tools.

        With `has_format`, a constraint begins behind `</think>`: all text before is reasoning, also without `<think>`.
        """
        think_open = self.think_open or (has_format and self.think_tags)
        return ReasoningParser(think_open, self.answer_tags, None if calling is None else calling.tags)

    def begun(self, constraint: Constraint | None) -> Constraint | None:
        """Return a constraint of the content, which begins behind the reasoning if there is any."""
        return constraint and replace(constraint, after=END_THINK if self.think_open or self.think_tags else None)


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
            "tools": self.call_style is not None,
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

    @cached_property
    def call_style(self) -> Style | None:
        """How the template writes calls of tools; None if it cannot show tools."""
        return call_style(self.tokenizer) if self.template == "chat" else None

    def calling(self, asked: ChatRequest) -> Calling | None:
        """Return how completions of a request call tools; None if they must not."""
        if asked.choice.kind == "none" or self.call_style is None:
            return None
        schemas = {tool.function.name: tool.function.schema_of_arguments for tool in asked.tools}
        if asked.choice.name is not None:
            schemas = {asked.choice.name: schemas[asked.choice.name]}
        parallel = asked.parallel_tool_calls is not False and asked.choice.name is None
        tokens = {str(added) for added in self.tokenizer.added_tokens_decoder.values()}
        constraint = call_constraint(self.call_style, schemas, asked.choice, parallel, tokens)
        return Calling(self.call_style, schemas, constraint)

    def chat_prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> ServedPrompt:
        """Return the prompt of a conversation.

        Args:
            messages: The conversation.
            tools: Definitions of the tools that the model may call.

        Raises:
            Refused: The model's template cannot show it.
        """
        template = str(self.tokenizer.chat_template) if self.template == "chat" else ""
        if (tools or any(each.tool_calls for each in messages)) and self.call_style is None:
            raise Refused(
                400,
                f"the chat template of {self.name} cannot show tools in a form that r1kit reads: ask a model "
                "whose template does, or give --chat-template hermes or a file",
                param="tools" if tools else "messages",
            )
        mark = uuid.uuid4().hex  # no text can hold it
        text = self._render(messages, tools, mark)
        return ServedPrompt(
            self._encode(text, "messages", mark),
            opens_think(text),
            think_tags=END_THINK in template or self.template == "r1-zero",
            answer_tags=ANSWER_TAGS[1] in template or self.template == "r1-zero",
        )

    def text_prompt(self, prompt: str | Sequence[int]) -> ServedPrompt:
        """Return the prompt of a text, or of token ids, that is continued as it is."""
        return ServedPrompt(self._encode(prompt, "prompt") if isinstance(prompt, str) else tuple(prompt))

    def _render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], mark: str) -> str:
        """Return the text of a conversation. Tokens that results of tools spell out are broken by a mark."""
        if self.template != "chat":
            if len(messages) > 1:
                raise Refused(
                    400,
                    f"{len(messages)} messages: the template {self.template} of {self.name} shows one question of the "
                    "user; send only that",
                    param="messages",
                )
            return render_prompt(messages[0].content, self.template, self.tokenizer)
        shown = for_template(messages)
        for entry in shown:
            if entry["role"] == "tool":
                entry["content"] = break_tokens(entry["content"], self.tokenizer, mark)
        try:
            text = render_chat(shown, self.tokenizer, tools)
            marked = render_chat([_marked(each, index) for index, each in enumerate(shown)], self.tokenizer, tools)
        except UserError as error:
            raise Refused(400, str(error), param="messages") from None
        for index, each in enumerate(messages):
            if _mark(index) not in marked:
                raise Refused(
                    400,
                    f"messages[{index}]: the chat template of {self.name} leaves this {each.role} message out; send "
                    "only the last question",
                    param="messages",
                )
        return text

    def _encode(self, text: str, param: str, mark: str = "") -> tuple[int, ...]:
        if len(text) > self.engine.context_length * LONGEST_TOKEN:
            limit = self.engine.context_length
            raise Refused(400, f"{param}: {len(text):,} characters; the context has {limit:,} tokens", param=param)
        if not mark:
            return tuple(encode_prompt(text, self.tokenizer))
        return tuple(with_bos(encode_broken(text, self.tokenizer, mark), bos_ids(self.tokenizer)))


def _mark(index: int) -> str:
    return f"Message {index}."


def _marked(entry: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Return a message that shows whether the template leaves it out: by its content, or the name it calls."""
    if not entry.get("tool_calls") or entry["content"]:
        return {**entry, "content": _mark(index)}
    [first, *rest] = entry["tool_calls"]
    called = {**first, "function": {**first["function"], "name": _mark(index)}}
    return {**entry, "tool_calls": [called, *rest]}
