"""Countdown: an arithmetic expression that reaches the target and uses every given number exactly once."""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from r1kit.rewards.checks.base import Row, Verifier, judge_answers
from r1kit.rewards.verdict import Ruling
from r1kit.types import Problem

MAX_CHARACTERS = 200  # of an expression; also bounds the nesting
OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ALLOWED = re.compile(r"[0-9+\-*/() \t\n]+")  # ASCII only: \d would admit full-width digits

_ASCII = dict.fromkeys(("×", "⋅", "·", "∙", "∗", "\\times", "\\cdot", "\\ast", "\\*"), "*")
_ASCII |= dict.fromkeys(("÷", "∕", "⁄", "\\div"), "/") | dict.fromkeys("−–", "-")
_ASCII |= dict.fromkeys(("[", "{", "\\{"), "(") | dict.fromkeys(("]", "}", "\\}"), ")")
_ASCII |= dict.fromkeys(("\\left", "\\right"), "") | dict.fromkeys(("\\,", "\\;", "\\!", "\\ ", "~"), " ")
_NOTATION = re.compile(r"[×⋅·∙∗÷∕⁄−–\[\]{}~]|\\[*{},;! ]|\\(?:times|cdot|ast|div|left|right)(?![A-Za-z])")
_TIMES = re.compile(r"(?<=[\d)])(\s*)[xX](\s*)(?=[\d(])")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TEXT = re.compile(r"\\(?:text|mathrm|boxed)\s*\{([^{}]*)\}")
_LABEL = re.compile(
    r"(?:(?:the|my)\s+)?(?:(?:final|correct)\s+)?(?:expression|equation|solution|answer)(?:\s+is)?\s*[:：]\s*",
    re.IGNORECASE,
)
_END = re.compile(r"(?<=[0-9)`$\]*\"'”])\.$")
_WRAPPINGS = [("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"), ("**", "**"), ("```", "```"), ("`", "`")]
_WRAPPINGS += [("*", "*"), ("_", "_"), ('"', '"'), ("'", "'"), ("“", "”")]


class _Rejected(ValueError):
    """The expression contains something other than integers and the four operations."""


def refute(expression: str, numbers: Sequence[int], target: float) -> str | None:
    """Return why `expression` does not solve the task, or None when it does.

    Only + - * / and brackets over the given integers are allowed: no sign, power, floor division or "=". The
    arithmetic is exact. A target that is not an integer was rounded, so a difference of up to 1e-5 is accepted.
    """
    if len(expression) > MAX_CHARACTERS:
        return f"the expression has {len(expression)} characters: at most {MAX_CHARACTERS} are allowed"
    expression = _plain(expression)
    if not _ALLOWED.fullmatch(expression):
        return f"{expression!r} contains more than numbers, + - * / and parentheses"
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        used: list[int] = []
        value = _evaluate(tree, used)
    except (SyntaxError, MemoryError, RecursionError, ZeroDivisionError, _Rejected) as error:
        return f"{expression!r} is not a valid expression: {error}"
    if sorted(used) != sorted(numbers):
        return f"uses the numbers {sorted(used)}, not each of {sorted(numbers)} once"
    tolerance = 0 if Fraction(target).denominator == 1 else Fraction(1, 100_000)
    return None if abs(value - Fraction(target)) <= tolerance else f"gives {value}, not {target}"


def canonical(expression: str) -> str:
    """Return the expression without markup and white space; 3*4 and 4*3 are different answers."""
    return re.sub(r"\s+", "", _plain(expression))


def _plain(expression: str) -> str:
    """Return the expression with ASCII operators and parentheses, without labels, markup and a final full stop."""
    text = _END.sub("", _LABEL.sub("", expression.strip(), count=1))
    for opening, closing in _WRAPPINGS:
        inner = text[len(opening) : -len(closing)]
        if text.startswith(opening) and text.endswith(closing) and opening not in inner and closing not in inner:
            text = _END.sub("", inner.strip())
    while (fraction := _FRACTION.sub(r"((\1)/(\2))", _TEXT.sub(r"\1", text))) != text:
        text = fraction
    return _TIMES.sub(r"\1*\2", _NOTATION.sub(lambda match: _ASCII[match[0]], text)).strip()


def _evaluate(node: ast.expr, used: list[int]) -> Fraction:
    """Return the value of a syntax tree and append its integers to `used`."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_evaluate(node.left, used), _evaluate(node.right, used))
    raise _Rejected(f"{type(getattr(node, 'op', node)).__name__} is not allowed")


def _read(problem: Problem) -> tuple[list[int], float]:
    numbers, target = problem.extra["numbers"], problem.extra["target"]
    if not numbers or not all(type(number) is int for number in numbers) or not isinstance(target, int | float):
        raise ValueError(f"numbers {numbers!r} and target {target!r} must be a list of integers and a number")
    return list(numbers), target


# -- rows of `r1kit grade` -------------------------------------------------------------------------------------------

_NUMBERS = re.compile(r"\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]|numbers?\D{0,20}?(\d+(?:\s*,\s*(?:and\s+)?\d+)+)", re.IGNORECASE)
_TARGET = re.compile(
    r"\b(?:equals?|equal to|target|reach(?:es)?|makes?|gives?)\D{0,20}(-?\d+(?:\.\d+)?)", re.IGNORECASE
)


def numbers_and_target(row: Row) -> dict[str, Any]:
    """Find numbers and target in the row, its gold or its problem.

    They may be fields, or an object under gold or problem. Otherwise they are read from the problem's text, and a gold
    that is a number is the target.
    """
    gold, problem = _parse(row.get("gold")), _parse(row.get("problem"))
    numbers = target = None
    for source in (row, gold, problem):
        if isinstance(source, Mapping):
            numbers = numbers or source.get("numbers") or source.get("nums")
            target = source.get("target") if target is None else target
    if isinstance(problem, str):
        if numbers is None and (match := _NUMBERS.search(problem)):
            numbers = [int(number) for number in re.findall(r"\d+", match[1] or match[2])]
        if target is None and not _is_number(gold) and (match := _TARGET.search(problem)):
            target = json.loads(match[1])
    if target is None and _is_number(gold):
        target = gold
    if numbers is None or target is None:
        raise ValueError('give "numbers" and "target", as fields or in an object under gold or problem')
    return {"numbers": numbers, "target": target}


def _parse(value: Any) -> Any:
    """Parse a text that holds a JSON object or number; return other values unchanged."""
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, dict) or _is_number(parsed) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


VERIFIER = Verifier(
    _read,
    judge_answers(lambda gold, answer: Ruling.of(refute(answer, *gold))),
    lambda gold, answer: canonical(answer),
    from_row=numbers_and_target,
)
