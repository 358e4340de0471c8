"""Zero-Eval: answers in a JSON object, extracted and compared as its scorer does (WildEval/ZeroEval)."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

from r1kit.evals.scoring.base import Means, Options, Row, Scorer, answer_text, field

# From the strictest form to the loosest: quoted, unquoted value, unquoted key.
_FORMS = tuple(map(re.compile, (r'"answer"\s*:\s*"([^"]*)"', r'"answer"\s*:\s*([^,\s]*)', r"answer\s*:\s*([^,\s]*)")))
_BRACE = re.compile(r"[{}]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTIENT = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*/\s*(-?\d+(?:\.\d+)?)\s*")


def extract_answer(text: str) -> str | None:
    r"""Return the value of "answer" in the first complete `{...}`, or else by patterns; None without one.

    LaTeX such as `\frac` makes JSON invalid, therefore the patterns.
    """
    found = _first_object(text)
    if isinstance(found, dict) and found.get("answer") is not None:
        return str(found["answer"])
    matches = (form.search(text) for form in _FORMS)
    return next((match[1] for match in matches if match), None)


def _first_object(text: str) -> Any:
    """Parse the text from the first brace to the one that closes it; None if that fails."""
    start = text.find("{")
    depth = 0
    for brace in _BRACE.finditer(text, max(start, 0)):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            try:
                return json.loads(text[start : brace.end()].replace("\n", ""), parse_int=str)
            except (ValueError, RecursionError):
                return None
    return None


def same_number(gold: str, answer: str) -> bool:
    """Return whether two answers are the same text, or begin with equal numbers, without $ and commas."""
    gold, answer = _plain(gold), _plain(answer)
    first, second = _NUMBER.search(gold), _NUMBER.search(answer)
    if gold == answer or first is None or second is None:
        return gold == answer
    a, b = float(first[0]), float(second[0])
    return a == b if isfinite(a) and isfinite(b) else first[0] == second[0]


def _plain(text: str) -> str:
    text = text.replace("$", "").replace(",", "").strip()
    if (quotient := _QUOTIENT.fullmatch(text)) and float(quotient[2]) != 0:
        return str(float(quotient[1]) / float(quotient[2]))
    return text


class ZeroEval(Scorer):
    """Scores `output` by `answer`, a number."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._means = Means()

    def add(self, row: Row) -> None:
        """Score a row."""
        gold, answer = str(field(row, "answer")), extract_answer(answer_text(row))
        right = answer is not None and same_number(gold, answer)
        self._means.add(accuracy=right, no_answer=answer is None)
        self.compare(row, {"extracted": answer, "correct": right})

    def metrics(self) -> dict[str, Any]:
        """Return accuracy and the share without an answer in percent, with two decimals as the suite prints them."""
        return self._means.percent(digits=2)
