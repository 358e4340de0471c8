"""Overlap of texts with evaluation sets."""

from __future__ import annotations

import pytest

from r1kit.evals.contamination import Contamination, normalize
from r1kit.types import Problem

LONG = "If seven birds sit on a long wire and three of them fly away, how many are left?"
BENCHMARKS = Contamination({"birds": [Problem("a", LONG, "4")], "sums": [Problem("b", "What is  7+6?", "13")]})


@pytest.mark.parametrize(
    ("text", "benchmark"),
    [
        (LONG, "birds"),
        ("Riddle: IF SEVEN birds, sit on a long wire - and three!", "birds"),
        ("seven birds sit on a long wire and three", None),  # nine words
        ("Three of seven birds that sit on a wire fly away. How many are left?", None),  # a paraphrase
        ("what is 7+6?", "sums"),
        ("What is 7*6?", None),
        ("What is 7+6? And what is 7*6?", None),
    ],
)
def test_overlap_is_ten_words_in_a_row_or_a_complete_short_question(text: str, benchmark: str | None) -> None:
    assert BENCHMARKS.find(text) == BENCHMARKS.find("nothing", text) == benchmark


def test_length_of_the_overlap_can_be_set() -> None:
    benchmarks = Contamination({"birds": [Problem("a", LONG, "4")]}, n=9)
    assert benchmarks.find("seven birds sit on a long wire and three") == "birds"


def test_chinese_characters_count_as_words() -> None:
    benchmarks = Contamination({"zh": [Problem("a", "小明有三个苹果，又买了五个，一共几个？", "8")]})
    assert benchmarks.find("题：小明有三个苹果又买了五个") == "zh"
    assert benchmarks.find("小明有三个梨，又买了五个") is None


def test_normalize_keeps_signs() -> None:
    assert normalize(" What  IS\n7+6? ") == "what is 7+6?"
    assert normalize("7+6") != normalize("7*6")
