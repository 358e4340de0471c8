"""Prompt templates: from a question or a conversation to the text that a model continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from r1kit.config import Template

# The paper's R1-Zero prompt, word for word (arXiv 2501.12948 v1, Table 1).
R1_ZERO_TEMPLATE = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
    "i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: {question}. Assistant:"
)

# For base models that bring no chat template. Laid out as R1's: no role before the system text, thoughts of earlier
# turns left out. The roles are words that every tokenizer has: no new tokens, no new embeddings.
CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}"
    "{% else %}{{ 'Assistant:\\n' + message['content'].split('</think>')[-1].lstrip() + eos_token + '\\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
)
R1_ZERO_CHAT_TEMPLATE = R1_ZERO_TEMPLATE.replace("{question}", "{{ messages[-1]['content'] }}")  # it knows one turn


def render_prompt(question: str, template: Template, tokenizer: Any) -> str:
    """The text a model continues. Only "chat" reads the tokenizer."""
    if template == "r1-zero":
        return R1_ZERO_TEMPLATE.replace("{question}", question)  # never str.format: questions hold braces
    if template == "none":
        return question
    if template != "chat":
        raise ValueError(f"unknown template {template!r}: choose from {', '.join(get_args(Template))}")
    return render_chat([{"role": "user", "content": question}], tokenizer)


def render_chat(messages: Sequence[Mapping[str, str]], tokenizer: Any) -> str:
    """The text the assistant continues, by the tokenizer's own chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError('this tokenizer has no chat template, which template "chat" needs: use "r1-zero" or "none"')
    return tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)


def give_chat_template(tokenizer: Any, template: Template) -> None:
    """A tokenizer without a chat template gets the one that prompts as `template` does, to be saved with the model."""
    if not getattr(tokenizer, "chat_template", None) and template != "none":
        tokenizer.chat_template = CHAT_TEMPLATE if template == "chat" else R1_ZERO_CHAT_TEMPLATE


def opens_think(prompt: str) -> bool:
    """Whether the prompt itself opened the think tag, so that completions hold only `</think>`."""
    return prompt.rstrip().endswith("<think>")
