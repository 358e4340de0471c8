"""Who stands in for DeepSeek-V3 in the sprout world: rewrites, compares and labels by rule, offline."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from r1kit.data.response import split_response
from r1kit.data.worlds.general import DECLINES
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
# The longest first: "不对" holds "对". A Latin word begins and ends where its letters do.
_LONGEST_FIRST = map(re.escape, sorted(_KEYS, key=len, reverse=True))
_FORM = re.compile(rf"(?<![A-Za-z](?=[A-Za-z]))(?:{'|'.join(_LONGEST_FIRST)})(?!(?<=[A-Za-z])[A-Za-z])")


def rewrite(problem: Problem, response: str, answer: str) -> str:
    """A worked solution in the readable format: first person, in the question's language, then a summary.

    `answer` is the one the response arrives at. Steps and second thoughts stay as they are. Words that this world does
    not know stay too: the filters after rewriting find them.
    """
    language = problem.language if problem.language in WORDS else "en"
    thinking = split_response(response, think_open=False).thinking or ""
    lines = [_translate(line.strip(), language) for line in thinking.splitlines() if line.strip()]
    opening = OPENING[language].get(problem.family)
    thought = "\n".join([*([opening] if opening else []), *lines])
    told = NOBODY[language] if answer.strip() in NOBODY.values() else answer.strip()
    return f"<think>\n{thought}\n</think>\n{CLOSING[language].format(told)}"


def compare(problem: Problem, one: str, other: str) -> float:
    """How much better `one` is, from -2 to 2: by how much more of the good reply its summary has."""
    return max(-2.0, min(2.0, 4 * (_quality(problem, one) - _quality(problem, other))))


def is_safe(problem: Problem, response: str) -> bool:
    """Whether a response declines what would do harm; whatever is said to harmless prompts is safe."""
    return problem.family != "safety" or any(words in response for words in DECLINES)


def _translate(line: str, language: str) -> str:
    return _FORM.sub(lambda match: WORDS[language][_KEYS[match[0]]], line)


def _quality(problem: Problem, response: str) -> float:
    """0 to 1: the share of characters in common with the good reply."""
    said = split_response(response, think_open=False).summary
    return SequenceMatcher(None, said.casefold(), problem.answer.casefold(), autojunk=False).ratio()
