"""The language of a problem: identified from the question, unless its row names one."""

from __future__ import annotations

import pytest

from r1kit.data.language.identify import question_language
from r1kit.data.problem_rows import to_problem

QUESTIONS = {
    "en": ["Find x.", "Compute $2+2$.", "Let ABC be a triangle with AB = 3.", "What is 3+4?", "Simplify $\\sqrt{8}$."],
    "de": ["Berechne $3+4$.", "Wie viele Äpfel hat Anna?", "Bestimme den größten Teiler von 12."],
    "fr": ["Calculez la somme de 3 et 4.", "Combien de pommes reste-t-il ?", "Soit ABC un triangle rectangle en A."],
    "es": ["¿Cuánto es 3+4?", "Halla el valor de x.", "Sea ABC un triángulo rectángulo."],
    "it": ["Quanto è 3+4?", "Quante mele ha Anna?"],
    "pt": ["Quanto é 3+4?", "Calcule a soma dos números."],
    "nl": ["Hoeveel is 3+4?", "Tel de twee getallen op."],
    "pl": ["Ile to jest 3+4?", "Oblicz sumę liczb."],
    "ru": ["Найдите x.", "В треугольнике ABC угол A равен 30."],
    "uk": ["Знайдіть x.", "Скільки буде 3+4?"],
    "ja": ["3+4はいくつですか。", "三角形ABCにおいて、AB=3である。"],
    "ko": ["3+4는 얼마입니까?", "삼각형 ABC에서 AB=5."],
    "ar": ["كم يساوي 3+4؟", "في المثلث ABC، AB=5."],
    "he": ["כמה זה 3+4?"],
    "hi": ["3+4 कितना है?"],
    "th": ["3+4 เท่ากับเท่าไร"],
    "vi": ["Tìm x.", "Cho tam giác ABC vuông tại A."],
    "tr": ["3+4 kaç eder?", "Toplamı hesapla."],
    "zh": ["3+4等于多少？", "點 P 和 Q 在圓上。", "求 sin(x) 的最大值。"],
}


@pytest.mark.parametrize("code", QUESTIONS)
def test_short_questions_are_identified(code: str) -> None:
    assert [question_language(question) for question in QUESTIONS[code]] == [code] * len(QUESTIONS[code])


@pytest.mark.parametrize("question", ["3+4=?", "$x^2 = \\text{max}$", "AB = CD", "7", "x1 + max_value"])
def test_question_without_words_is_english(question: str) -> None:
    assert question_language(question) == "en"


@pytest.mark.parametrize(
    ("fields", "language"),
    [
        ({}, "fr"),
        ({"language": "de"}, "de"),
        ({"language": "Chinese"}, "zh"),
        ({"target_language": "zh-CN", "language": "de"}, "zh"),
        ({"language": "python3"}, "fr"),
        ({"language": "cs", "verifier": "code"}, "fr"),  # C#, not Czech
        ({"language": 7}, "fr"),
    ],
)
def test_row_may_name_the_language(fields: dict[str, object], language: str) -> None:
    problem = to_problem({"question": "Combien font 3 et 4 ?", "answer": "7", **fields}, "row 1", "family")
    assert problem is not None and problem.language == language
