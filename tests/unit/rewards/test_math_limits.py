"""Limits of the mathematics verifier: hostile answers get a ruling in bounded time."""

from __future__ import annotations

import time
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from r1kit.rewards.math.check import canonical, check, check_prose, equivalent
from r1kit.rewards.verdict import Status

BOMBS = [
    "9^{9^{9^{9}}}",
    "x^" * 900 + "2",
    "2" + "^2" * 900,
    "(" * 60 + "1" + ")" * 60,
    "{" * 2000,
    "9" * 1001,
    "9" * 1000,
    "((9!)!)!",
    "\\sqrt" * 390 + "2",
    "\\sin " * 400 + "x",
    "-" * 1900 + "5",
    "(a+b+c+d+e)" * 180,
    "(a+b+c)^{64}",
    "1e999*" * 390 + "1",
    "(" * 30 + "x+1" + ")^2" * 30,
    "\\sqrt{(1+" * 40 + "x" + ")^8}" * 40,
    "\\frac{1}{x+" * 60 + "1" + "}" * 60,
    "1 a" * 600,
    "+".join(f"\\frac{{1}}{{x+{i}}}" for i in range(100)),
    "*".join(f"({c}+1)" for c in "abcdefghjklmnopqrstuvwxyz"),
    "\\text{a}" * 280,
    ",1" * 1000,
    "a=" * 900 + "b",
    "\\pm1" * 400,
    "\\{" * 30 + "1" + "\\}" * 30,
    "\\sqrt{999999999999999989}+" * 70 + "1",
    "\\begin{pmatrix}" + "1&" * 900 + "\\end{pmatrix}",
    "().__class__.__bases__[0].__subclasses__()",
    "\x00\ue000\ue001",
    "∪" * 999,
    "$" * 1999,
    "\\text{" * 390,
    "e^{e^{e^{e^{100}}}}",
    "\\sin(10^{300})*" * 100 + "1",
    "\\binom{500}{250}!" * 50,
    "\\log_{2}(2^{10^{12}})",
    "\\lfloor" * 300 + "x",
    "|" * 1500,
    "0." + "1" * 900 + "...",
    "十" * 1900,
    "x=1," * 480,
    "\\sqrt{2+" * 50 + "2" + "}" * 50,
    "1 cm " * 390,
]


def test_the_reason_names_the_limit():
    for answer, status, reason in [
        ("5" + " " * 2000, "over_limit", "2001 characters"),
        ("9" * 1001, "over_limit", "1000 digits"),
        ("(" * 65 + "5" + ")" * 65, "over_limit", "64 brackets"),
        (",1" * 80, "over_limit", "80 parts"),
        ("  ", "unparseable", "empty"),
        ("5\\write18", "unparseable", "does not equal"),
    ]:
        ruling = check("1, 2", answer)
        assert ruling.status == status and reason in ruling.reason


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_hostile_answers_are_refused_in_bounded_time(bomb):
    started = time.process_time()
    for gold in ("5", "x^2+1", "(1,2)", "\\{1,2,3\\}"):
        assert check(gold, bomb).status not in ("right", "infra_error")
    check_prose("5", bomb * (100_000 // len(bomb)))
    canonical(bomb)
    equivalent(bomb, bomb + " ")
    check(bomb, bomb)
    assert time.process_time() - started < 2.4  # seven calls: 0.5 on an idle machine


@pytest.mark.parametrize("unit", ["#", "(C)", "]", "1 h ", "1'", "x=1;", "(1) ", "十", "\\vec{a}\\times"])
def test_long_gold_answers_take_bounded_time(unit):
    started = time.process_time()
    for start in ("5", "[", "x="):
        assert check(start + unit * (15_000 // len(unit)), "7").status in ("wrong", "unparseable")
    assert time.process_time() - started < 0.8


def test_a_long_word_between_two_signs_takes_bounded_time():
    started = time.process_time()
    assert check(f"0<{'null' * 3_500}0<5", "7").status in ("wrong", "unparseable")
    assert time.process_time() - started < 0.5


PIECES = (
    r"1 2 x y i ( ) [ ] { } , ; + - * / ^ = < _ ! % . 和 & | \frac \sqrt \pm \cup \text \sin \{ \} \\ $ and ° ≈ 十 cm"
)
pieces = st.sampled_from([*PIECES.split(), " "])


@example("答:0")
@given(st.lists(pieces, max_size=40).map("".join) | st.text(max_size=60))
def test_any_text_gets_a_ruling_and_equals_itself(text):
    started = time.process_time()
    ruling = check(text, text)
    assert ruling.status == ("right" if text.strip() else "unparseable")
    assert isinstance(canonical(text), str) and check_prose("5", text)[0].status in get_args(Status)
    assert time.process_time() - started < 3
