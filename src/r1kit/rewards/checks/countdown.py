"""Countdown: an arithmetic expression that reaches the target and uses every given number exactly once."""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

LONGEST = 200  # characters; also bounds the nesting
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_ALLOWED = re.compile(r"[0-9+\-*/() \t\n]+")  # ASCII only: \d would admit full-width digits


class _Rejected(ValueError):
    pass


def refute(expression: str, numbers: Sequence[int], target: float) -> str | None:
    """Why `expression` does not solve the task; None when it does.

    Allowed are + - * / and parentheses over the given integers, nothing else: no sign, power, floor division or "=".
    The arithmetic is exact. A target that is no integer was rounded by someone, so it is met within 1e-5.
    """
    if len(expression) > LONGEST:
        return f"the expression has {len(expression)} characters, allowed are {LONGEST}"
    if not _ALLOWED.fullmatch(expression):
        return f"{expression!r} holds more than numbers, + - * / and parentheses"
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        used: list[int] = []
        value = _evaluate(tree, used)
    except (SyntaxError, MemoryError, RecursionError, ZeroDivisionError, _Rejected) as error:
        return f"{expression!r} is no valid expression: {error}"
    if sorted(used) != sorted(numbers):
        return f"uses the numbers {sorted(used)}, not each of {sorted(numbers)} once"
    tolerance = 0 if Fraction(target).denominator == 1 else Fraction(1, 100_000)
    return None if abs(value - Fraction(target)) <= tolerance else f"gives {value}, not {target}"


def canonical(expression: str) -> str:
    return re.sub(r"\s+", "", expression)


def _evaluate(node: ast.expr, used: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_evaluate(node.left, used), _evaluate(node.right, used))
    raise _Rejected(f"{type(node.op if hasattr(node, 'op') else node).__name__} is not allowed")


# -- where a line of a data set keeps the numbers and the target ----------------------------------------------------

_NUMBERS = re.compile(r"\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]|numbers?\D{0,20}?(\d+(?:\s*,\s*(?:and\s+)?\d+)+)", re.IGNORECASE)
_TARGET = re.compile(
    r"\b(?:equals?|equal to|target|reach(?:es)?|makes?|gives?)\D{0,20}(-?\d+(?:\.\d+)?)", re.IGNORECASE
)


def numbers_and_target(row: Mapping[str, Any]) -> dict[str, Any]:
    """From fields of the row, its gold or its problem; else from the problem's words, the gold being the target."""
    gold, problem = _parsed(row.get("gold")), _parsed(row.get("problem"))
    numbers = target = None
    for place in (row, gold, problem):
        if isinstance(place, Mapping):
            numbers = numbers or place.get("numbers") or place.get("nums")
            target = place.get("target") if target is None else target
    if isinstance(problem, str):
        if numbers is None and (listed := _NUMBERS.search(problem)):
            numbers = [int(number) for number in re.findall(r"\d+", listed[1] or listed[2])]
        if target is None and not _is_number(gold) and (stated := _TARGET.search(problem)):
            target = json.loads(stated[1])
    if target is None and _is_number(gold):
        target = gold
    if numbers is None or target is None:
        raise ValueError('give "numbers" and "target", as fields or in an object under gold or problem')
    return {"numbers": numbers, "target": target}


def _parsed(value: Any) -> Any:
    """Text that holds a JSON object or number as that; other text as it is."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return found if isinstance(found, dict) or _is_number(found) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
