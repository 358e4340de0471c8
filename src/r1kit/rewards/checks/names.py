"""Answers that are a set of names, such as who tells the truth in a logic puzzle."""

from __future__ import annotations

import re

from r1kit.rewards.checks.base import Verifier, gold_answer, judge_answers
from r1kit.rewards.checks.choice_words import HEADING
from r1kit.rewards.verdict import Ruling

MAX_CHARACTERS = 2_000  # of an answer
_GROUP = r"of (?:them|the (?:people|inhabitants|islanders|two|three))"
_NOBODY = re.compile(rf"(?:none|neither|nobody|no[- ]one)(?: {_GROUP})?|没有人?|无人?|∅|empty set")
_MARKUP = re.compile(
    r"\\(?:text|textbf|mathrm|mathbf)\b|\\[,;! ]|^\s*(?:[-•*]|\(?\d+[.)])\s+|(?<=\s)\(\d\)\s"
    r"|[{}\[\]()$*`\"“”'‘’\\.。!#]",
    re.MULTILINE,
)
_SEPARATOR = re.compile(r"[\s,，、;；/&+和与與及]+|以及|跟")
_LETTER_AND = re.compile(r"(?<=\s)[yeи](?=\s)")  # "Ana y Bo", but not the person E of "A, E, F"
_FILLERS = {"and", "both", "only", "also", "plus", "just", "und", "et"}


def refute(gold: str, answer: str) -> str | None:
    """Return why `answer` does not name exactly the people in `gold`, or None. Order and case do not matter."""
    if len(answer) > MAX_CHARACTERS:
        return f"the answer has {len(answer)} characters: at most {MAX_CHARACTERS} are allowed"
    return None if _names(answer) == _names(gold) else f"{answer!r} does not name the same people as {gold!r}"


def canonical(answer: str) -> str:
    """Return one text for all ways to name the same people."""
    return ",".join(sorted(_names(answer)))


def _names(text: str) -> set[str]:
    text = HEADING.split(text)[-1].replace("\\emptyset", "∅").replace("&amp;", "&")
    text = _LETTER_AND.sub(",", _MARKUP.sub(" ", text)).strip().casefold()
    if _NOBODY.fullmatch(text):
        return {"none"}
    return {word for word in _SEPARATOR.split(text) if word} - _FILLERS


VERIFIER = Verifier(
    gold_answer,
    judge_answers(lambda gold, answer: Ruling.of(refute(gold, answer))),
    lambda gold, answer: canonical(answer),
)
