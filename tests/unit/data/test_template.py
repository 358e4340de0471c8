"""Prompt templates."""

from __future__ import annotations

import pytest

from r1kit.data.template import (
    CHAT_TEMPLATE,
    R1_ZERO_TEMPLATE,
    add_chat_template,
    asks_for_answer_tags,
    opens_think,
    render_chat,
    render_prompt,
)
from r1kit.data.tokenizer import train_tokenizer

THINK_CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<bot><think>\n{% endif %}"
)


def test_r1_zero_template_keeps_braces_in_the_question() -> None:
    question = r"What is {x} in \frac{1}{2} {question}?"
    prompt = render_prompt(question, "r1-zero", None)
    head, tail = R1_ZERO_TEMPLATE.split("{question}")
    assert prompt == head + question + tail
    assert prompt.startswith("A conversation between User and Assistant.") and prompt.endswith(" Assistant:")
    assert not opens_think(prompt)


def test_template_none_is_the_question() -> None:
    assert render_prompt("{x}?", "none", None) == "{x}?"


def test_only_r1_zero_asks_for_answer_tags() -> None:
    assert [asks_for_answer_tags(template) for template in ("r1-zero", "chat", "none")] == [True, False, False]


def test_template_chat_is_the_tokenizers_own() -> None:
    tokenizer = train_tokenizer(["some text"], 300, THINK_CHAT_TEMPLATE)
    prompt = render_prompt("1+1?", "chat", tokenizer)
    assert prompt == "<user>1+1?<bot><think>\n" and opens_think(prompt)


def test_template_chat_needs_a_chat_template() -> None:
    for tokenizer in (train_tokenizer(["some text"], 300), None):
        with pytest.raises(ValueError, match='no chat template; use "r1-zero"'):
            render_prompt("1+1?", "chat", tokenizer)


def test_unknown_template_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"template = 'r1': must be one of r1-zero, chat, none"):
        render_prompt("1+1?", "r1", None)


def test_bundled_chat_template_drops_the_thinking_of_earlier_turns() -> None:
    tokenizer = train_tokenizer(["some text"], 300, CHAT_TEMPLATE)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n2"},
        {"role": "user", "content": "2+2?"},
    ]
    text = render_chat(messages, tokenizer)
    assert text == "Be brief.\n\nUser: 1+1?\n\nAssistant:\n2<|endoftext|>\nUser: 2+2?\n\nAssistant:\n"


def test_add_chat_template_renders_as_the_template_does() -> None:
    tokenizer = train_tokenizer(["some text"], 300)
    add_chat_template(tokenizer, "none")
    assert not tokenizer.chat_template
    add_chat_template(tokenizer, "r1-zero")
    assert render_prompt("{x}?", "chat", tokenizer) == render_prompt("{x}?", "r1-zero", None)
    add_chat_template(tokenizer, "chat")
    assert render_prompt("{x}?", "chat", tokenizer) == render_prompt("{x}?", "r1-zero", None), "an existing one stays"
