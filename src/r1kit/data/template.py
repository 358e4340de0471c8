"""Prompt templates: render a question or a conversation as the text that a model continues.

To add a template: its name in `config.base.Template`, and a branch in `render_prompt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from r1kit.config import Template
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
    "{{ bos_token or '' }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}"
    "{% else %}{{ 'Assistant:\\n' + message['content'].split('</think>')[-1].lstrip() + eos_token + '\\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
)
R1_ZERO_CHAT_TEMPLATE = R1_ZERO_TEMPLATE.replace("{question}", "{{ messages[-1]['content'] }}")  # single-turn


def render_prompt(question: str, template: Template, tokenizer: PreTrainedTokenizerBase | None) -> str:
    """Return the text that a model continues. Only the template "chat" reads the tokenizer.

    Raises:
        UserError: The template is unknown, or the tokenizer has no chat template.
    """
    if template == "r1-zero":
        return R1_ZERO_TEMPLATE.replace("{question}", question)  # not str.format: questions may contain braces
    if template == "none":
        return question
    if template != "chat":
        raise UserError(f"template = {template!r}: must be one of {', '.join(get_args(Template))}")
    return render_chat([{"role": "user", "content": question}], tokenizer)


def render_chat(messages: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase | None) -> str:
    """Return the text that the assistant continues, by the tokenizer's own chat template. UserError without one."""
    if tokenizer is None or not getattr(tokenizer, "chat_template", None):
        raise UserError('template = "chat": this tokenizer has no chat template; use "r1-zero" or "none"')
    text = tokenizer.apply_chat_template([dict(m) for m in messages], add_generation_prompt=True, tokenize=False)
    return str(text)


def add_chat_template(tokenizer: PreTrainedTokenizerBase, template: Template) -> None:
    """Give a tokenizer without a chat template one that prompts as `template` does. It is saved with the model."""
    if not getattr(tokenizer, "chat_template", None) and template != "none":
        tokenizer.chat_template = CHAT_TEMPLATE if template == "chat" else R1_ZERO_CHAT_TEMPLATE


def opens_think(prompt: str) -> bool:
    """Return whether a prompt ends in `<think>`, so that completions hold only `</think>`."""
    return prompt.rstrip().endswith("<think>")


def asks_for_answer_tags(template: Template) -> bool:
    """Return whether prompts of this template ask for `<answer>` tags around the answer."""
    return template == "r1-zero"
