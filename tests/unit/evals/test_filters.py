"""Filters of curated data: reasons against an answer, and how readable it is."""

from __future__ import annotations

import pytest

from r1kit.data.prompt import Prompt
from r1kit.evals.filters import REASONS, readability, why_unreadable, why_unusable
from r1kit.types import Completion, FinishReason, Problem, Score


def completion(
    finish_reason: FinishReason = "stop", token_ids: tuple[int, ...] = tuple(range(40)), text: str = ""
) -> Completion:
    return Completion("p", 0, token_ids, (0.0,) * len(token_ids), text, finish_reason)


def score(accuracy: float = 1.0, form: float = 1.0, masked: bool = False) -> Score:
    return Score(accuracy + form, {"accuracy": accuracy, "format": form}, masked=masked)


@pytest.mark.parametrize(
    ("completion", "score", "reason"),
    [
        (completion(), score(), ""),
        (completion("length"), score(), "truncated"),
        (completion(), score(0.0, masked=True), "ungraded"),
        (completion(), score(0.5, 0.0), "wrong"),
        (completion(), score(1.0, 0.0), "format"),
        (completion(token_ids=(1, 2, 3, 4, 5) * 20), score(), "repetition"),
    ],
)
def test_why_unusable(completion: Completion, score: Score, reason: str) -> None:
    assert why_unusable(completion, score) == reason and reason in (*REASONS, "")


@pytest.mark.parametrize(
    ("thinking", "language", "reason"),
    [
        ("I add 7 and 6. Wait, that is 13.", "en", ""),
        ("我算7加6，等于13。", "zh", ""),
        ("I add 7 and 6. 等等，是13。", "en", "mixed language"),
        ("I add 7 and 6.", "zh", "mixed language"),
        ("I add. " * 300, "en", "long paragraph"),
        ("I add 7 an\ufffd 6.", "en", "garbled"),
        ("I add.\n" * 300, "en", ""),
        ("I run\n```python\n7 + 6\n```\n", "en", "code block"),
    ],
)
@pytest.mark.parametrize("among", [("en", "zh"), ()], ids=["two languages", "any language"])
def test_why_unreadable(thinking: str, language: str, reason: str, among: tuple[str, ...]) -> None:
    assert why_unreadable(f"<think>\n{thinking}\n</think>\n\\boxed{{13}}", language, among) == reason


def test_code_blocks_are_allowed_in_the_summary() -> None:
    assert why_unreadable("<think>\nI write it.\n</think>\n```python\nprint(13)\n```", "en") == ""


@pytest.mark.parametrize(
    ("completion", "think_open", "expected"),
    [
        (completion(text="<think>I add them.</think> 13"), False, (True, 1.0)),
        (completion(text="I add them.</think> 13"), True, (True, 1.0)),
        (completion(text="<think>I add 等于</think> 13"), False, (False, 1 / 3)),  # a character counts as a word
        (completion(text="13"), False, (True, None)),
        (completion("length", text="<think>I add them"), False, (False, 1.0)),
        (completion(token_ids=(1, 2) * 30, text="<think>I add them.</think> 13"), False, (False, 1.0)),
    ],
)
def test_readability(completion: Completion, think_open: bool, expected: tuple[bool, float | None]) -> None:
    problem = Problem("p", "What is 7+6?", "13", extra={"languages": ("en", "zh")})
    assert readability(Prompt(problem, problem.question, (), think_open), completion) == expected
