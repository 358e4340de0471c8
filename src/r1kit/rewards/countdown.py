"""Countdown: an arithmetic expression that reaches the target and uses every given number exactly once."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Sequence
from fractions import Fraction

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
