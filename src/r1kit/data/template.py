"""Prompt templates: render a question or a conversation as the text that a model continues, and encode it.

To add a template: its name in `config.base.Template`, and a branch in `render_prompt`.

Two special tokens go with every template. A tokenizer that begins texts with BOS begins prompts with it, once. An
answer ends with the token that the chat template puts behind it, such as ChatML's `<|im_end|>`, else with EOS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args

from jinja2 import TemplateError

from r1kit.config import Template
from r1kit.console import say
from r1kit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The paper's R1-Zero prompt, word for word (arXiv 2501.12948 v1, Table 1).
R1_ZERO_TEMPLATE = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
    "i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: {question}. Assistant:"
)

# For base models without a chat template. Laid out as R1's: no role before the system text, and earlier turns without
# their thinking. The roles are plain words, so they need no new tokens and no new embeddings.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}"
    "{% else %}{{ 'Assistant:\\n' + message['content'].split('</think>')[-1].lstrip() + eos_token + '\\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
)
R1_ZERO_CHAT_TEMPLATE = R1_ZERO_TEMPLATE.replace("{question}", "{{ messages[-1]['content'] }}")  # single-turn
BOS = "{{ bos_token }}"  # at the start of a chat template
_ANSWER = "An answer."  # shows what a chat template puts behind an answer


def render_prompt(
    question: str, template: Template, tokenizer: PreTrainedTokenizerBase | None, system_prompt: str = ""
) -> str:
    """Return the text that a model continues. Only the template "chat" reads the tokenizer and the system prompt.

    Raises:
        UserError: The template is unknown, or the tokenizer has no chat template, or none with a system role.
    """
    if template == "r1-zero":
        return R1_ZERO_TEMPLATE.replace("{question}", question)  # not str.format: questions may contain braces
    if template == "none":
        return question
    if template != "chat":
        raise UserError(f"template = {template!r}: must be one of {', '.join(get_args(Template))}")
    return render_conversation([{"role": "user", "content": question}], tokenizer, system_prompt)


def render_conversation(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase | None,
    system_prompt: str = "",
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the text that the assistant continues, which shows the system prompt and all tools.

    The system prompt stands before a conversation without one. The other arguments are those of `render_chat`.

    Raises:
        UserError: The chat template refuses the conversation, or leaves out the system prompt or a tool.
    """
    system_prompt = "" if messages[0]["role"] == "system" else system_prompt
    before = [{"role": "system", "content": system_prompt}] if system_prompt else []
    text = render_chat([*before, *messages], tokenizer, tools)
    if system_prompt.strip() not in text:
        raise UserError("system_prompt: the chat template of this tokenizer leaves it out; use prompt_suffix instead")
    if hidden := [name for tool in tools if (name := tool["function"]["name"]) not in text]:
        raise UserError(
            f"the chat template of this tokenizer does not show the tools {', '.join(hidden)}: use a model whose chat "
            "template has tools"
        )
    return text


def render_chat(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase | None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Return the text that the assistant continues, by the tokenizer's own chat template.

    Args:
        messages: Role and content of each; calls and results of tools as OpenAI's API has them, arguments as objects.
        tokenizer: Its chat template is used.
        tools: Definitions of tools, as OpenAI's API has them. Not every template shows them.

    Raises:
        UserError: The tokenizer has no chat template, or it refuses these messages.
    """
    if tokenizer is None or not getattr(tokenizer, "chat_template", None):
        raise UserError('template = "chat": this tokenizer has no chat template; use "r1-zero" or "none"')
    shown: Any = [dict(tool) for tool in tools] if tools else None
    try:
        text = tokenizer.apply_chat_template(
            [dict(m) for m in messages], tools=shown, add_generation_prompt=True, tokenize=False
        )
    except (TemplateError, TypeError) as error:  # a TypeError: it has no case for calls without content
        roles = ", ".join(message["role"] for message in messages)
        raise UserError(
            f"the chat template of this tokenizer refuses messages with the roles {roles}: {error}"
        ) from None
    return str(text)


def encode_prompt(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of a rendered prompt: its BOS once, also if the template wrote it already."""
    return with_bos(tokenizer.encode(text, add_special_tokens=False), bos_ids(tokenizer))


def bos_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return [BOS] if the tokenizer begins every text with it, else []."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer.encode(_ANSWER)[:1] == [bos] else []


def with_bos(token_ids: list[int], bos: list[int]) -> list[int]:
    """Return the token ids of a text with `bos_ids` in front, once."""
    return token_ids if token_ids[: len(bos)] == bos else [*bos, *token_ids]


def end_of_answer(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the token that ends an answer: what the chat template puts behind it, else EOS.

    A chat template that shows no answers, or ends them with ordinary text, says nothing about it.
    """
    end: int = tokenizer.eos_token_id
    if getattr(tokenizer, "chat_template", None):
        messages = [{"role": "user", "content": "A question."}, {"role": "assistant", "content": _ANSWER}]
        with suppress(TemplateError):
            text = str(tokenizer.apply_chat_template(messages, tokenize=False))
            behind = tokenizer.encode(text.rpartition(_ANSWER)[2].lstrip(), add_special_tokens=False)[:1]
            if behind and _is_special(tokenizer, behind[0]) and _ANSWER in text:
                end = behind[0]
    return end


def _is_special(tokenizer: PreTrainedTokenizerBase, token: int) -> bool:
    added = tokenizer.added_tokens_decoder.get(token)
    return token in tokenizer.all_special_ids or (added is not None and added.special)


def set_template(tokenizer: PreTrainedTokenizerBase, template: Template) -> None:
    """Make a tokenizer prompt and end answers as a model is trained with this template. It is saved with the model.

    "chat" keeps an existing chat template, "r1-zero" replaces it, "none" changes nothing. EOS becomes the token that
    ends an answer, and the chat template writes the BOS that prompts begin with.
    """
    if tokenizer.eos_token_id is not None:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end_of_answer(tokenizer))
    if template == "r1-zero":
        tokenizer.chat_template = R1_ZERO_CHAT_TEMPLATE
    elif template == "chat":
        add_chat_template(tokenizer)
    if template != "none" and bos_ids(tokenizer) and not _writes_bos(tokenizer):
        tokenizer.chat_template = BOS + tokenizer.chat_template


def add_chat_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Give a tokenizer without a chat template that of base models. Return whether it had none."""
    had_none = not getattr(tokenizer, "chat_template", None)
    if had_none:
        tokenizer.chat_template = CHAT_TEMPLATE
    return had_none


def use_chat_template(tokenizer: PreTrainedTokenizerBase, template: Template) -> None:
    """Prompt a base model with "chat" as rl and sft stages do, and say so. Other templates change nothing."""
    if template == "chat" and add_chat_template(tokenizer):
        say('the tokenizer has no chat template: prompts begin with "User:", as in rl and sft with template = "chat"')


def _writes_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    return render_chat([{"role": "user", "content": "A question."}], tokenizer).startswith(str(tokenizer.bos_token))


def opens_think(prompt: str) -> bool:
    """Return whether a prompt ends in `<think>`, so that completions hold only `</think>`."""
    return prompt.rstrip().endswith("<think>")


def has_think_tags(prompt: str, template: Template, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether responses to a prompt have think tags: its text or the chat template mentions them."""
    return "<think>" in prompt or (template == "chat" and "</think>" in str(tokenizer.chat_template))


def asks_for_answer_tags(template: Template) -> bool:
    """Return whether prompts of this template ask for `<answer>` tags around the answer."""
    return template == "r1-zero"
