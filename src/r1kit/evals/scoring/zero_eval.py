"""Zero-Eval: answers in a JSON object, extracted and compared as its scorer does (WildEval/ZeroEval)."""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable
from math import isfinite
from typing import Any

from r1kit.evals.scoring.base import Means, Options, Row, Scorer, answer_text, field

# From the strictest form to the loosest: quoted, unquoted value, unquoted key.
_FORMS = tuple(map(re.compile, (r'"answer"\s*:\s*"([^"]*)"', r'"answer"\s*:\s*([^,\s]*)', r"answer\s*:\s*([^,\s]*)")))
_BRACE = re.compile(r"[{}]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ARITHMETIC = re.compile(r"[\d\s.+*/()-]{1,200}", re.ASCII)
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def extract_answer(text: str) -> str | None:
    r"""Return the value of "answer" in the first complete `{...}`, or else by patterns; None without one.

    LaTeX such as `\frac` makes JSON invalid, therefore the patterns. An answer that is null or empty is none.
    """
    found = _first_object(text)
    if isinstance(found, dict) and "answer" in found:
        return None if found["answer"] is None else str(found["answer"]) or None
    matches = (form.search(text) for form in _FORMS)
    return next((match[1] or None for match in matches if match), None)


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
    """Return whether the first numbers of two answers are equal, without $ and commas; False if one has none."""
    first, second = (_NUMBER.search(_plain(text)) for text in (gold, answer))
    if first is None or second is None:
        return False
    a, b = float(first[0]), float(second[0])
    return a == b if isfinite(a) and isfinite(b) else first[0] == second[0]


def _plain(text: str) -> str:
    """Return a text without $ and commas; with a slash, the value of what is arithmetic, such as "(3 + 4) / 2"."""
    text = text.replace("$", "").replace(",", "").strip()
    if "/" not in text or not _ARITHMETIC.fullmatch(text):
        return text
    try:
        return str(float(_value(ast.parse(text, mode="eval").body)))
    except (SyntaxError, ValueError, ArithmeticError):  # no expression, another operator, division by zero
        return text


def _value(node: ast.expr) -> float:
    """Return the value of an expression of numbers. ValueError for other operators than + - * and /."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
    raise ValueError(f"{ast.dump(node)[:80]}: must be numbers with + - * and /")


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
