"""Grouping answers for majority voting: what counts as one answer, which answers have a vote, order, and time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.evals import votes
from r1kit.evals.metrics import cons_at_k
from r1kit.evals.votes import group_answers
from r1kit.rewards.score import score
from r1kit.types import Problem

SUM = Problem("sum", "", "0.5")
ACCURACY = {"accuracy": 1.0}
OPTIONS = {"options": ["iron", "gold", "zinc", "either of A and B"]}
CHOICE = Problem("choice", "", "C", "choice", extra=OPTIONS)
KNIGHTS = Problem("knights", "", "", "knights", extra={"solution": {"Ann": True, "Bob": False}})
COUNTDOWN = Problem("countdown", "", "", "countdown", extra={"numbers": [3, 4], "target": 12})
NAMES = Problem("names", "", "Ann, Bob", "names")
JSON = Problem("json", "", "", "json")
FUZZY = Problem("fuzzy", "", "a big red fox ran away", "fuzzy")
EXACT = Problem("exact", "", "The Hague", "exact", extra={"answers": ["The Hague", "Den Haag"]})

ONE_GROUP = [
    (SUM, ["1/2", "0.5", "\\frac12", "$x = \\frac{1}{2}$", "0.50"]),
    (SUM, ["5", "5.0", "$5$", "x = 5", "5 apples", "\\text{5}", "05", "five"]),
    (SUM, ["2, \\frac12", "0.5,2", "\\{2, 1/2\\}"]),
    (SUM, ["x^2+2x+1", "(x+1)^2", "(1 + x)(1 + x)"]),
    (SUM, ["\\sin 2x", "2\\sin x\\cos x"]),
    (SUM, ["\\text{no solution}", "\\emptyset"]),
    (CHOICE, ["C", "(C) zinc", "zinc", "**C**", "die Antwort ist C", "c"]),
    (KNIGHTS, ["Ann is a knight, Bob is a knave.", "Knaves: Bob\nKnights: Ann", "Bob is a liar and Ann is a knight."]),
    (COUNTDOWN, ["3*4", "\\(3 \\times 4\\)", "`3 * 4`.", "3×4"]),
    (NAMES, ["Bob and Ann", "ann, bob", "- Ann\n- Bob"]),
    (JSON, ['{"a": 1, "b": [true]}', '{"b": [true], "a": 1.0}', '```json\n{"a": 1e0, "b": [true]}\n```']),
    (FUZZY, ["big red fox", "the big red fox", "fox, big red"]),
    (EXACT, ["The Hague", "the hague.", "**The Hague**"]),
]
DIFFERENT = [
    (SUM, ["5", "2+3", "(5,5)", "[5,5]", "-5", "5x", "5 cm and 3 cm"]),
    (SUM, ["(1, 2)", "(2, 1)", "[1, 2]", "12"]),
    (SUM, ["5 cm", "5 m", "6"]),
    (SUM, ["1/3", "0.33", "0.34"]),
    (CHOICE, ["A", "B", "C"]),
    (COUNTDOWN, ["3*4", "4*3", "3+4"]),
    (NAMES, ["Ann", "Ann, Bob", "nobody"]),
    (JSON, ["1", "true", '"1"', "[1]"]),
    (EXACT, ["The Hague", "Den Haag"]),  # both are right, but different answers
]


@pytest.mark.parametrize(("problem", "answers"), ONE_GROUP)
def test_equal_answers_are_one_group(problem, answers):
    assert len(set(group_answers(problem, answers))) == 1
    assert None not in group_answers(problem, answers)


@pytest.mark.parametrize(("problem", "answers"), DIFFERENT)
def test_different_answers_are_different_groups(problem, answers):
    assert len(set(group_answers(problem, answers)) - {None}) == len(answers)


@pytest.mark.parametrize(
    ("problem", "answers"),
    [(SUM, [None, ""]), (CHOICE, ["A or B", "blue", "E", None]), (JSON, ["{'a': 1}", "[1"]),
     (KNIGHTS, ["Ann is a knight.", "Ann is a knight and a knave. Ann is a knave. Ann is a knight. Bob is a knave."])],
)  # fmt: skip
def test_missing_and_unreadable_answers_have_no_vote(problem, answers):
    assert group_answers(problem, answers) == (None,) * len(answers)


def test_an_answer_that_the_verifier_cannot_read_has_no_vote():
    texts = ["\\boxed{many (}", "\\boxed{many (}", "\\boxed{0.5}"]
    scores = [
        score(SUM, text, {"accuracy": 1.0}, think_open=False, answer_tags=False, truncated=False) for text in texts
    ]
    groups = group_answers(SUM, [s.extracted if s.readable else None for s in scores])
    assert groups[:2] == (None, None) and cons_at_k(groups, [False, False, True], 3) == 1


@given(
    st.lists(st.sampled_from([None, "27", "27%", "0.27", "1/3", "0.3333", "0.33333", "5 cm", "5 m", "5"])), st.randoms()
)
def test_groups_do_not_depend_on_the_order_of_the_answers(answers, rng):
    groups = dict(zip(answers, group_answers(SUM, answers), strict=True))
    shuffled = rng.sample(answers, len(answers))
    assert dict(zip(shuffled, group_answers(SUM, shuffled), strict=True)) == groups


def test_an_answer_that_equals_two_different_ones_joins_the_more_frequent():
    assert len(set(group_answers(SUM, ["27", "27%", "0.27", "0.27"]))) == 2
    groups = group_answers(SUM, ["27", "27%", "0.27", "0.27"])
    assert groups[1] == groups[2] == groups[3] != groups[0]


def test_the_winner_is_judged_by_its_group():
    answers = ["1/2", "0.5", "7", "7", "\\frac{1}{2}"]
    right = [True, True, False, False, True]
    assert cons_at_k(group_answers(SUM, answers), right, 5) == 1
    assert cons_at_k(answers, right, 5) == 0  # by text, 7 would win


@pytest.mark.slow
def test_different_answers_are_grouped_in_bounded_time():
    started = time.process_time()
    assert len(set(group_answers(SUM, [str(i) for i in range(64)]))) == 64
    slow = [f"\\frac{{\\sqrt{{{i}}}+x^{i}}}{{(y+{i})^9(z-1)^{{7}}}}" + "+1" * 100 for i in range(1, 17)]
    assert len(set(group_answers(SUM, slow))) == 16
    assert time.process_time() - started < 6  # 1.2 on an idle machine


def test_the_comparisons_of_a_problem_are_limited(monkeypatch):
    calls = []
    monkeypatch.setattr(votes, "MAX_COMPARISONS", 3)
    monkeypatch.setattr(votes, "grader_named", lambda name: Counting(calls))
    assert group_answers(SUM, ["a", "b", "c", "d", "e"]) == ("a", "b", "c", "d", "e") and len(calls) == 3


class Counting:
    """A verifier that finds no two answers equal and records its comparisons."""

    def __init__(self, calls):
        self.same = lambda one, other: bool(calls.append((one, other)))

    read = canonical = staticmethod(lambda *arguments: arguments[-1])
