"""From a question to a prompt, and from a response to its thinking, its summary and its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Response:
    """A completion taken apart. Every part is stripped of surrounding white space."""

    thinking: str | None  # inside the think tags; None when the text never thinks
    answer: str | None  # inside the last <answer>..</answer> of the summary
    summary: str  # what follows the last </think>; the whole text when there is none
    well_formed: bool  # thinks exactly once, from its first word, then says something


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


def split_response(text: str, think_open: bool) -> Response:
    """Take a completion apart; `think_open` says that its prompt already ended in `<think>`."""
    before, closed, summary = text.rpartition("</think>")  # without the tag all of the text is the summary
    thinking = before if closed else text if think_open or "<think>" in text else None
    if thinking is not None and "<think>" in thinking:
        thinking = thinking.partition("<think>")[2]
    well_formed = (
        text.count("</think>") == 1
        and text.count("<think>") == (0 if think_open else 1)
        and (think_open or text.lstrip().startswith("<think>"))
        and says_something(thinking)
        and says_something(summary)
    )
    return Response(thinking and thinking.strip(), _last_answer(summary), summary.strip(), well_formed)


def says_something(text: str | None) -> bool:
    """Whether there is a letter or a digit: white space and zero-width characters are not reasoning."""
    return any(map(str.isalnum, text or ""))


def _last_answer(summary: str) -> str | None:
    before, closed, _ = summary.rpartition("</answer>")
    _, opened, answer = before.rpartition("<answer>")
    return answer.strip() if closed and opened else None


def find_boxes(text: str) -> list[str]:
    r"""The contents of every outermost `\boxed{...}` in order; none at all when one of them is never closed."""
    boxes, position = [], 0
    while match := _BOX.search(text, position):
        position = match.end()
        if match[1] is not None:  # "\boxed 5", as some solutions of MATH have it
            boxes.append(match[1])
            continue
        depth = 1
        while depth and position < len(text):
            if text[position] == "\\":
                position += 1  # an escaped brace is text
            else:
                depth += {"{": 1, "}": -1}.get(text[position], 0)
            position += 1
        if depth:
            return []
        boxes.append(text[match.end() : position - 1].strip())
    return boxes


_BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+([^\s{$]+))")
