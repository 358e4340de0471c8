"""Prompt templates."""

import pytest

from r1kit.data.template import R1_ZERO_TEMPLATE, opens_think, render_prompt
from r1kit.data.tokenizer import train_tokenizer

CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<bot><think>\n{% endif %}"
)


def test_a_question_with_braces_is_put_into_the_template_as_it_is():
    question = r"What is {x} in \frac{1}{2} {question}?"
    prompt = render_prompt(question, "r1-zero", None)
    head, tail = R1_ZERO_TEMPLATE.split("{question}")
    assert prompt == head + question + tail
    assert prompt.startswith("A conversation between User and Assistant.") and prompt.endswith(" Assistant:")
    assert render_prompt(question, "none", None) == question
    assert not opens_think(prompt)


def test_the_chat_template_is_the_tokenizers_own():
    tokenizer = train_tokenizer(["some text"], 300, CHAT_TEMPLATE)
    prompt = render_prompt("1+1?", "chat", tokenizer)
    assert prompt == "<user>1+1?<bot><think>\n" and opens_think(prompt)
    with pytest.raises(ValueError, match="r1-zero"):
        render_prompt("1+1?", "chat", train_tokenizer(["some text"], 300))
    with pytest.raises(ValueError, match=r"unknown template 'r1'.*r1-zero"):
        render_prompt("1+1?", "r1", tokenizer)
