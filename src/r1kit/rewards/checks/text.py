"""Answers that are plain words: equal after normalising, or alike by the share of words they have in common."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

LONGEST = 20_000  # characters
ALIKE = 0.8  # the word F1 from which a fuzzy answer counts as right
_MARKUP = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}")
_EDGES = " \t\r\n.,;:!?\"'`*_$。，；：！？“”‘’「」"
_WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u4e00-\u9fff]+")  # CJK by the character


def normalise(text: str) -> str:
    """One text for all ways to write the same words: width, case, white space, markup and outer punctuation."""
    text = _MARKUP.sub(r"\1", unicodedata.normalize("NFKC", text))
    return " ".join(text.casefold().split()).strip(_EDGES)


def refute(golds: Iterable[str], answer: str) -> str | None:
    """Why `answer` is none of the gold texts; None when it is one."""
    if len(answer) > LONGEST:
        return f"the answer has {len(answer)} characters, allowed are {LONGEST}"
    given = normalise(answer)
    if given in (wanted := [normalise(gold) for gold in golds]):
        return None
    return f"{_short(given)!r} is not {' or '.join(_short(text) for text in wanted[:5])!r}"


def likeness(golds: Iterable[str], answer: str) -> float:
    """The best word F1 against a gold text, 0 to 1: order does not matter, repetition does."""
    given = Counter(_WORD.findall(normalise(answer[:LONGEST])))
    return max((_f1(Counter(_WORD.findall(normalise(gold))), given) for gold in golds), default=0.0)


def _f1(wanted: Counter[str], given: Counter[str]) -> float:
    if not wanted or not given:
        return float(wanted == given)
    return 2 * (wanted & given).total() / (wanted.total() + given.total())


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
