"""Answers that are a set of names, such as who tells the truth in a logic puzzle."""

from __future__ import annotations

import re

from r1kit.rewards.checks.base import Verifier, gold_answer, judge_answers
from r1kit.rewards.verdict import Ruling

MAX_CHARACTERS = 2_000  # of an answer
NOBODY = {"none", "nobody", "没有", "无"}
_SEPARATOR = re.compile(r"^\s*-\s+|[\s,，、;；和]+|\\text|[{}$.。*`]", re.MULTILINE)


def refute(gold: str, answer: str) -> str | None:
    """Return why `answer` does not name exactly the people in `gold`, or None. Order and case do not matter."""
    if len(answer) > MAX_CHARACTERS:
        return f"the answer has {len(answer)} characters: at most {MAX_CHARACTERS} are allowed"
    return None if _names(answer) == _names(gold) else f"{answer!r} does not name the same people as {gold!r}"


def canonical(answer: str) -> str:
    """Return one text for all ways to name the same people."""
    return ",".join(sorted(_names(answer)))


def _names(text: str) -> set[str]:
    names = {name for name in _SEPARATOR.split(text.casefold()) if name and name != "and"}
    return {"none"} if names and names <= NOBODY else names


VERIFIER = Verifier(
    gold_answer,
    judge_answers(lambda gold, answer: Ruling.of(refute(gold, answer))),
    lambda gold, answer: canonical(answer),
)
