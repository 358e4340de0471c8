"""Tokens of thinking and of the answer."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerBase

from r1kit.data.prompt import Prompt
from r1kit.evals.lengths import lengths_by_grade, thinking_tokens
from r1kit.types import Completion, Problem


def completion(text: str, ids: tuple[int, ...] = (), counted: int = 0, thinking: int = 0) -> Completion:
    return Completion("p", 0, ids, (), text, "stop", counted=counted, counted_thinking=thinking)


def prompt(think_open: bool = False) -> Prompt:
    return Prompt(Problem("p", "1+1?", "2"), "1+1?", (), think_open)


@pytest.mark.parametrize(
    ("before", "after", "think_open"),
    [
        ("<think>one two</think>", " the answer is 2", False),
        ("one two</think>", "2", True),
        ("<think>a</think> no <think>b</think>", "2", False),
        ("", "no thinking: 2", False),
        ("<think>never ends", "", False),
        ("never ends", "", True),
    ],
)
def test_thinking_ends_with_the_token_of_the_last_tag(
    before: str, after: str, think_open: bool, tokenizer: PreTrainedTokenizerBase
) -> None:
    first = tokenizer.encode(before, add_special_tokens=False)
    ids = (*first, *tokenizer.encode(after, add_special_tokens=False))
    assert thinking_tokens(prompt(think_open), completion(before + after, ids), tokenizer) == len(first)


def test_tags_of_several_tokens_are_found(tokenizer: PreTrainedTokenizerBase) -> None:
    """Byte by byte: the tag is no token of its own."""
    texts = ("<think>x</think>", "2!")
    parts = [[i for c in text for i in tokenizer.encode(c, add_special_tokens=False)] for text in texts]
    ids = tuple(i for part in parts for i in part)
    assert tokenizer.decode(ids) == "".join(texts)
    assert thinking_tokens(prompt(), completion("".join(texts), ids), tokenizer) == len(parts[0])


def test_endpoints_count_or_the_share_of_characters_does() -> None:
    text = "<think>" + "x" * 85 + "</think>" + "y" * 300
    assert thinking_tokens(prompt(), completion(text, counted=80, thinking=30), None) == 30
    assert thinking_tokens(prompt(), completion(text, counted=80), None) == 20
    assert thinking_tokens(prompt(), completion("hidden", counted=80, thinking=75), None) == 75
    assert thinking_tokens(prompt(), completion("<think>cut", counted=80), None) == 80


def test_lengths_of_right_and_wrong_answers() -> None:
    rows = [
        {"correct": True, "tokens": 10, "thinking_tokens": 6},
        {"correct": True, "tokens": 20, "thinking_tokens": 8},
        {"correct": None, "tokens": 99, "thinking_tokens": 9},
    ]
    assert lengths_by_grade(rows) == {"right": {"answers": 2, "thinking_tokens": 7, "answer_tokens": 8}}
