"""Wordings of choices, countdown expressions and knights: each form that counts, and its near misses."""

from __future__ import annotations

import pytest

from r1kit.rewards.checks import choice, countdown, knights, names
from r1kit.types import Problem

OPTIONS = ["iron", "gold", "zinc", "lead"]
CHOICES = """
Antwort: C | Die richtige Antwort ist C. | La bonne réponse est C | La respuesta correcta es (C) | A resposta é C
La risposta è C. | Jawaban: C | Правильный ответ: C | Ответ — C | उत्तर: C | 正解はCです。 | 答え：C | 정답은 C입니다
الإجابة الصحيحة هي C | 故选C。 | 故选：C | 所以选C | 正确答案是C | Antwort:  Antwort: C | Final answer - C | Answer: 'C'
Answer: “C” | The answer is therefore C. | The answer is C! | \\(C\\) | # Answer C | The answer is not B but C.
(C) zinc, not (B) gold | **C** is right; **A** is wrong. | C. Both A and B | C) A mix of both | zinc (option C)
"""
NOT_CHOICES = """
Antwort: B | La respuesta es C o B | C or B | not C | The answer is not C but B | 故选：B、C | 故选：BC
blue (option C) or D | 正解はCではない | C is wrong | Ответ: не C | 答案不是C | Réponse : C ou D
die Antwort ist nicht C | Answer: C / D | C? D | Both A and C | C, not A but B | 'C' or 'D'
정답은 C가 아니다 | 选C或D | la respuesta no es C
gold (option C) | C. A or B | la réponse n'est pas C | C! A! | C, (D) is right
"""


def phrases(text: str) -> list[str]:
    return [phrase.strip() for line in text.strip().splitlines() for phrase in line.split(" | ")]


@pytest.mark.parametrize("answer", phrases(CHOICES))
def test_choice_in_many_wordings(answer: str) -> None:
    assert choice.refute(2, OPTIONS, answer) is None


@pytest.mark.parametrize("answer", phrases(NOT_CHOICES))
def test_choice_near_misses_earn_nothing(answer: str) -> None:
    assert choice.refute(2, OPTIONS, answer) is not None


def test_article_at_the_start_of_an_option_is_no_letter() -> None:
    assert choice.refute(1, OPTIONS, "B. A large number of cells") is None
    assert choice.refute(1, OPTIONS, "B. A is right") is not None


def test_options_may_be_a_number() -> None:
    gold, options = choice.VERIFIER.read(Problem("p", "", "C", "choice", extra={"options": 4}))
    assert choice.refute(gold, options, "The answer is (C).") is None
    assert choice.refute(gold, options, "The answer is (D).") and choice.refute(gold, options, "E")
    with pytest.raises(ValueError, match="none of the 4 options"):
        choice.VERIFIER.read(Problem("p", "", "E", "choice", extra={"options": 4}))


@pytest.mark.parametrize(
    "answer",
    ["\\( 4*3 \\)", "`4*3`", "4*3.", "$4 \\times 3$", "4×3", "\\[3 \\cdot 4\\]", "$\\left(3\\right)*4.$", "3⋅4"],
)
def test_countdown_notations(answer: str) -> None:
    assert countdown.refute(answer, [3, 4], 12) is None


@pytest.mark.parametrize("answer", ["`3*4", "3*4..", "3*4. 5", "3÷4", "3*4.5", "3**4", "\\(3*4\\) or 12", "12."])
def test_countdown_near_misses_earn_nothing(answer: str) -> None:
    assert countdown.refute(answer, [3, 4], 12) is not None


@pytest.mark.parametrize(
    "answer",
    [
        "Bob is the only knave. Ann is a knight.",
        "Ann is a truth-teller and Bob is a liar.",
        "Ann is definitely a truthteller, Bob is therefore not a knight.",
    ],
)
def test_knights_wordings(answer: str) -> None:
    assert knights.refute({"Ann": True, "Bob": False}, answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        "Ann is the only knave. Bob is a knight.",
        "Ann is a liar, Bob is a truth-teller.",
        "Ann is a knight. Bob is not the only knave.",
        "Ann is a truth-teller or a liar, Bob is a liar.",
        "Ann is therefore not a knight; Bob is a knave.",
    ],
)
def test_knights_near_misses_earn_nothing(answer: str) -> None:
    assert knights.refute({"Ann": True, "Bob": False}, answer) is not None


def test_names_in_markdown() -> None:
    assert names.refute("A,E", "**A** and **E**") is None and names.refute("Ann, Bob", "- Ann\n- Bob") is None
    assert names.refute("Ann, Bob", "- Ann\n- Cy") is not None and names.refute("Ann-Lee", "Ann\nLee") is not None
