"""Prompts: the text, its tokens, and what completions continue."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerBase

from r1kit.config import Prompting, Template
from r1kit.data.prompt import make_prompt, make_prompts
from r1kit.data.template import R1_ZERO_TEMPLATE
from r1kit.data.tokenizer import train_tokenizer
from r1kit.types import Problem

PROBLEM = Problem("p", "What is 7+6?", "13")
THINK_CHAT_TEMPLATE = "{{ messages[0].content }}{% if add_generation_prompt %}<bot><think>\n{% endif %}"


@pytest.fixture(scope="module")
def chat_tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(["some text"], 300, THINK_CHAT_TEMPLATE)


@pytest.mark.parametrize(
    ("template", "text", "think_open", "answer_tags"),
    [
        ("r1-zero", R1_ZERO_TEMPLATE.replace("{question}", "What is 7+6?"), False, True),
        ("chat", "What is 7+6?<bot><think>\n", True, False),
        ("none", "What is 7+6?", False, False),
    ],
)
def test_make_prompt(
    chat_tokenizer: PreTrainedTokenizerBase, template: Template, text: str, think_open: bool, answer_tags: bool
) -> None:
    prompt = make_prompt(PROBLEM, Prompting(template=template), chat_tokenizer)
    assert (prompt.problem, prompt.text) == (PROBLEM, text)
    assert (prompt.think_open, prompt.answer_tags) == (think_open, answer_tags)
    assert chat_tokenizer.decode(prompt.token_ids) == text


def test_make_prompts_keeps_the_order(tokenizer: PreTrainedTokenizerBase) -> None:
    problems = [PROBLEM, Problem("q", "What is 1+1?", "2"), PROBLEM]
    prompts = make_prompts(problems, Prompting(template="none"), tokenizer)
    assert [prompt.problem for prompt in prompts] == problems
    assert [prompt.text for prompt in prompts] == [problem.question for problem in problems]


def test_full_response_has_its_opening_think_tag(chat_tokenizer: PreTrainedTokenizerBase) -> None:
    opened, plain = (
        make_prompt(PROBLEM, Prompting(template=template), chat_tokenizer) for template in ("chat", "none")
    )
    assert opened.full_response("so</think> 13") == "<think>so</think> 13"
    assert plain.full_response("<think>so</think> 13") == "<think>so</think> 13"
