"""Answers in plain prose and in number words, and agreement with the labels of other graders."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from public_data import fixture_and_shared

from r1kit.rewards.math import sympy_guest, value
from r1kit.rewards.math.check import check_prose
from r1kit.rewards.math.numerals import chinese_number, english_number, expand_scale


@pytest.mark.parametrize(
    ("gold", "text", "status"),
    [
        ("42", "First compute 6*7.\n42", "right"),
        ("42", "The angle is [42].", "right"),
        ("x >= 5", "Therefore $x \\geq 5$ is the solution.", "right"),
        ("x = 11", "$x = 5+5+1 = 7 = 11$", "right"),  # the end of a derivation counts
        ("1000.99", "the number is not 10 which is 1,000.99€", "right"),
        ("D", "The answer is for sure D, it can't be A or B", "right"),
        ("D", "D. it can't be A or B", "right"),
        ("C", "Not B; after thinking about it I take C", "right"),
        ("1, 2", "\\boxed{1} and \\boxed{2}", "right"),
        ("5", "\\boxed{5} or \\boxed{6}", "wrong"),
        ("5", "5, or perhaps 6", "wrong"),
        ("43", "The answer is 42 or 43.", "wrong"),
        ("5", "It could be 3, 4 or 5.", "wrong"),
        ("3, 4, 5", "It is 3, 4 or 5.", "right"),
        ("D", "C or D", "wrong"),
        ("C", "The answer is C or D.", "wrong"),
        ("B", "The correct option is B because A is wrong.", "right"),
        ("5", "The answer is 5 and not 6.", "right"),
        ("6", "The answer is 5, not 6.", "wrong"),
        ("5", "The answer is not 6 but 5.", "right"),
        ("blue", "The answer is **blue**.", "right"),
        ("Room 5", "The answer is Room 5.", "right"),
        ("12", "答案是 12，不是 13。", "right"),
        ("15", "一共有15个。", "right"),
        ("3 km", "3 cm", "wrong"),
        ("3 km", "The road has 3000 m.", "right"),
        ("3 km", "3000 m", "right"),
        ("5", "\\boxed{5", "unparseable"),
        ("5", "", "unparseable"),
    ],
)
def test_the_answer_is_found_in_prose(gold, text, status):
    assert check_prose(gold, text)[0].status == status


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        ("二〇二四年", 2024, "年"), ("一百零五", 105, ""), ("两万三千", 23_000, ""), ("3万5千", 35_000, ""),
        ("1.5亿元", 150_000_000, "元"), ("十", 10, ""), ("负三分之二", Fraction(-2, 3), ""),
        ("百分之五", Fraction(1, 20), ""), ("零点五", Fraction(1, 2), ""),
    ],
)  # fmt: skip
def test_chinese_number_words_are_parsed(text, value, rest):
    assert chinese_number(text) == (value, rest)


def test_english_number_words_are_parsed():
    assert english_number("forty-two") == 42
    assert english_number("two thousand and five") == 2005
    assert english_number("five six") is None
    assert expand_scale("5.2 million a year") == "5200000 a year"


@fixture_and_shared("rewards", "vectors/math_equivalence.jsonl")
def test_verdicts_agree_with_the_labels(path, monkeypatch):
    """At least 97 % agreement, and no answer labelled wrong is right. docs/verifiers.md lists the differences."""
    monkeypatch.setattr(value, "proved_equal", sympy_guest.equal)
    cases = [json.loads(line) for line in path.open(encoding="utf-8")]
    verdicts = []
    for case in cases:
        summary = case["pred"].rpartition("</think>")[2]
        verdicts.append((case["expected"], check_prose(case["gold"], summary)[0].status == "right"))
    assert {expected for expected, _ in verdicts} == {True, False}
    assert (False, True) not in verdicts
    assert sum(expected == verdict for expected, verdict in verdicts) >= 0.975 * len(verdicts)
