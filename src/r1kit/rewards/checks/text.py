"""Answers that are plain words: `exact`, `fuzzy` (word F1) and `told` (the complete text after the thinking)."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from r1kit.rewards.checks.base import Row, Verifier, gold_answer, judge_answers, judge_body
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Ruling, Verdict
from r1kit.types import Problem

MAX_CHARACTERS = 20_000  # of an answer
FUZZY_RIGHT = 0.8  # word F1 from which a fuzzy answer counts as right
_MARKUP = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}")
_ASCII = str.maketrans("‘’´“”‐–", "'''\"\"--", "\u200b\ufeff\u00ad")
_EDGES = " \t\r\n.,;:!?\"'`*_$。，；：！？“”‘’「」"
_WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u4e00-\u9fff]+")  # one CJK character is a word


def normalise(text: str) -> str:
    """Remove differences of width, case, white space, markup, quotes, hyphens and outer punctuation."""
    text = _MARKUP.sub(r"\1", unicodedata.normalize("NFKC", text).translate(_ASCII))
    return " ".join(text.casefold().split()).strip(_EDGES)


def refute(golds: Iterable[str], answer: str) -> str | None:
    """Return why `answer` is none of the gold texts, or None when it is one."""
    if len(answer) > MAX_CHARACTERS:
        return f"the answer has {len(answer)} characters: at most {MAX_CHARACTERS} are allowed"
    given = normalise(answer)
    if given in (wanted := [normalise(gold) for gold in golds]):
        return None
    return f"{_short(given)!r} is not {' or '.join(_short(text) for text in wanted[:5])!r}"


def word_f1(golds: Iterable[str], answer: str) -> float:
    """Return the best word F1 with a gold text, from 0 to 1. Order does not matter, repetition does."""
    given = Counter(_WORD.findall(normalise(answer[:MAX_CHARACTERS])))
    return max((_f1(Counter(_WORD.findall(normalise(gold))), given) for gold in golds), default=0.0)


def _f1(wanted: Counter[str], given: Counter[str]) -> float:
    if not wanted or not given:
        return float(wanted == given)
    return 2 * (wanted & given).total() / (wanted.total() + given.total())


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _read(problem: Problem) -> list[str]:
    """Return the gold texts; an answer has to match one of them."""
    golds = problem.extra.get("answers")
    return [str(answer) for answer in golds] if golds else [gold_answer(problem)]


def _from_row(row: Row) -> dict[str, Any]:
    return {"answers": row["gold"]} if isinstance(row.get("gold"), list) else {}


def _check(golds: Sequence[str], answer: str) -> Ruling:
    return Ruling.of(refute(golds, answer))


def _judge_fuzzy(golds: Sequence[str], reply: Reply) -> Verdict:
    if not reply.answers:
        return reply.no_answer()
    f1 = max(0.0, min(word_f1(golds, answer) for answer in reply.answers))
    reason = f"word F1 {f1:.2f}; at least {FUZZY_RIGHT} is required"
    return Verdict(f1, reply.answers[-1], reason, "right" if f1 >= FUZZY_RIGHT else "wrong")


def _canonical(golds: Sequence[str], answer: str) -> str:
    return normalise(answer)


def _similar(one: str, other: str) -> bool:
    return word_f1([one], other) >= FUZZY_RIGHT


EXACT = Verifier(_read, judge_answers(_check), _canonical, from_row=_from_row)
FUZZY = Verifier(_read, _judge_fuzzy, _canonical, _similar, _from_row)
TOLD = Verifier(_read, judge_body(_check), _canonical, from_row=_from_row)
