"""Countdown, names, and where an answer is extracted from."""

import json
import time

import pytest
from public_data import fixture_and_shared

from r1kit.rewards.checks import countdown, names
from r1kit.rewards.extract import find_answers
from r1kit.rewards.score import grade
from r1kit.types import Problem

SOLUTIONS = ["3*4", "(3*4)", "3 * 4\n", "4*3", "(" * 60 + "3*4" + ")" * 60]
NOT_ALLOWED = [
    "8-(-4)",
    "3*04",
    "3**4",
    "3*4=12",
    "+3*4",
    "12//1",
    "3_*4",
    "３*4",
    "3×4×",
    "3*4.0",
    "3*4#",
    "f(3)*4",
    "0x3*4",
]
WRONG = ["12", "3*4*1", "3/0+4*3", "3 4", "3*4,", "3*4;4", "True*12", "", "  ", "(" * 200, "1+" * 50_000, "3", "3+4"]


@pytest.mark.parametrize("expression", [*SOLUTIONS, *NOT_ALLOWED, *WRONG])
def test_countdown_accepts_only_plain_solutions(expression):
    assert (countdown.refute(expression, [3, 4], 12) is None) == (expression in SOLUTIONS)


def test_countdown_is_exact_and_explains_faults():
    assert countdown.refute("8/(3-8/3)", [3, 3, 8, 8], 24) is None
    assert countdown.refute("99999*99999/99998", [99999, 99999, 99998], 100001) == "gives 9999800001/99998, not 100001"
    assert countdown.refute("1/3", [1, 3], 0.3333333) is None
    assert "numbers [3]" in countdown.refute("3", [3, 4], 3)


@fixture_and_shared("rewards", "countdown/verifier_cases.jsonl")
def test_countdown_cases(path):
    for case in map(json.loads, path.open(encoding="utf-8")):
        assert (countdown.refute(case["answer"], case["numbers"], case["target"]) is None) == case["valid"], case


def test_countdown_grades_a_response():
    problem = Problem("c", "", "12", verifier="countdown", extra={"numbers": [3, 4], "target": 12})
    assert grade(problem, "<think>r</think><answer> 3*4 </answer>").value == 1
    assert grade(problem, "<think>r</think><answer> 12 </answer>").value == 0


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("Amy, Bob", "bob and AMY", True),
        ("Amy, Bob", "\\text{Bob, Amy}.", True),
        ("小明、小红", "小红和小明", True),
        ("A,C", "C A", True),
        ("none", "没有", True),
        ("无", "Nobody.", True),
        ("A,C", "A", False),
        ("A", "A,B", False),
        ("A", "A or B", False),
        ("A", "none", False),
        ("none", "A", False),
        ("none", "A, none", False),
        ("none", "", False),
        ("none", ",", False),
        ("A", "not A", False),
    ],
)
def test_names_compare_as_a_set(gold, answer, right):
    assert (names.refute(gold, answer) is None) == right


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        "<answer>",
        "</answer>",
        "<think>",
        "</think>",
        "\\boxed{",
        "\\boxed ",
        "####",
        "\n",
        " ",
        "answer ",
        "A:",
        "\\boxed{5}",
        "a.",
    ],
)
def test_find_answers_is_fast_on_long_hostile_responses(unit):
    text = unit * (300_000 // len(unit))
    started = time.process_time()
    find_answers(text)
    find_answers("<think>r</think>" + text + "<answer>5</answer>")
    assert time.process_time() - started < 8  # linear: 2 on an idle machine; quadratic: minutes
