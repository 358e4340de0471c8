"""Rule-based stand-in for DeepSeek-V3 in the sprout world: rewrites, compares and labels responses offline."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from r1kit.data.response import split_response
from r1kit.data.worlds.general.conduct import DECLINES
from r1kit.data.worlds.task import WORDS
from r1kit.types import Problem

OPENING = {
    "en": {
        "arithmetic": "I go from left to right.",
        "countdown": "I try what looks close.",
        "logic": "I start with what is sure.",
    },
    "zh": {"arithmetic": "我从左到右算。", "countdown": "我试一试。", "logic": "我从知道的开始。"},
}
CLOSING = {"en": "So I get \\boxed{{{}}}.", "zh": "所以我得到\\boxed{{{}}}。"}
NOBODY = {"en": "none", "zh": "没有"}
_KEYS = {form: key for words in WORDS.values() for key, form in words.items()}
# Longest form first, because "不对" contains "对". Latin forms match only as complete words.
_LONGEST_FIRST = map(re.escape, sorted(_KEYS, key=len, reverse=True))
_FORM = re.compile(rf"(?<![A-Za-z](?=[A-Za-z]))(?:{'|'.join(_LONGEST_FIRST)})(?!(?<=[A-Za-z])[A-Za-z])")


def rewrite(problem: Problem, response: str, answer: str) -> str:
    """Rewrite a worked solution in the readable format: first person, one language, then a summary.

    The language is the question's, and `answer` is the response's final answer. Steps and corrections stay unchanged.
    So do unknown words; the filters after rewriting reject responses that contain them. Without thinking in the
    response, only the summary is written.
    """
    language = problem.language if problem.language in WORDS else "en"
    thinking = split_response(response, think_open=False).thinking
    final = NOBODY[language] if answer.strip() in NOBODY.values() else answer.strip()
    summary = CLOSING[language].format(final)
    if thinking is None:
        return summary
    lines = [_translate(line.strip(), language) for line in thinking.splitlines() if line.strip()]
    opening = OPENING[language].get(problem.family)
    thought = "\n".join([*([opening] if opening else []), *lines])
    return f"<think>\n{thought}\n</think>\n{summary}"


def compare(problem: Problem, one: str, other: str) -> float:
    """Return how much better `one` is than `other`, from -2 to 2, by similarity to the reference reply."""
    return max(-2.0, min(2.0, 4 * (_quality(problem, one) - _quality(problem, other))))


def is_safe(problem: Problem, response: str) -> bool:
    """Whether a response is safe: it declines a harmful prompt, or the prompt is harmless."""
    return problem.family != "safety" or any(words in response for words in DECLINES)


def _translate(line: str, language: str) -> str:
    return _FORM.sub(lambda match: WORDS[language][_KEYS[match[0]]], line)


def _quality(problem: Problem, response: str) -> float:
    """Return the similarity of the summary to the reference reply, 0 to 1 (difflib ratio)."""
    summary = split_response(response, think_open=False).summary
    return SequenceMatcher(None, summary.casefold(), problem.answer.casefold(), autojunk=False).ratio()
