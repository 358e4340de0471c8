"""The calculator: exact arithmetic on integers, decimals and fractions, bounded in size and so in time."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from r1kit.tools.base import Run, Tool, ToolError

MAX_CHARACTERS = 1_000  # of an expression; also bounds the nesting
MAX_BITS = 10_000  # of a numerator or denominator: about 3,000 digits
MAX_DECIMALS = 30  # a result with more is written as a fraction
_ALLOWED = re.compile(r"[0-9+\-*/%(). \t\n]+")  # no exponents: 1e999999999 is a short text and a long number
_SIGNS = {"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**"}
OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
}


def calculate(expression: str) -> str:
    """Return the exact value of an expression: an integer, a decimal that ends, or a fraction such as 1/3.

    Raises:
        ToolError: It is no expression of + - * / // % ** and parentheses, divides by zero, or grows too large.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ToolError(f"the expression has {len(expression):,} characters: at most {MAX_CHARACTERS:,} are allowed")
    text = expression.strip()
    for sign, ascii_sign in _SIGNS.items():
        text = text.replace(sign, ascii_sign)
    if not _ALLOWED.fullmatch(text):
        raise ToolError("only numbers, + - * / // % ** and parentheses are allowed")
    try:
        return _written(_value(ast.parse(text, mode="eval").body, text))
    except ZeroDivisionError:
        raise ToolError("division by zero") from None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ToolError(f"not an expression: {text[:100]}") from None


def _value(node: ast.expr, text: str) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()):
            return _bounded(Fraction(ast.get_source_segment(text, node) or ""))
        case ast.UnaryOp(op=ast.UAdd() | ast.USub(), operand=operand):
            value = _value(operand, text)
            return -value if isinstance(node.op, ast.USub) else value
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, text), _value(right, text))
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in OPERATORS:
            return _bounded(OPERATORS[type(kind)](_value(left, text), _value(right, text)))
    raise ToolError(f"not an expression: {text[:100]}")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    """Return base ** exponent. The size of the result is known before it is computed."""
    if exponent.denominator != 1:
        raise ToolError("an exponent must be an integer")
    if _bits(base) * abs(exponent) > MAX_BITS:
        raise _too_large()
    return Fraction(base ** int(exponent))


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > MAX_BITS:
        raise _too_large()
    return value


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _too_large() -> ToolError:
    return ToolError(f"a number has more than {MAX_BITS:,} bits")


def _written(value: Fraction) -> str:
    for decimals in range(MAX_DECIMALS + 1):
        scaled = value * 10**decimals
        if scaled.denominator == 1:
            digits = str(abs(scaled.numerator)).rjust(decimals + 1, "0")
            sign, point = "-" * (value < 0), len(digits) - decimals
            return f"{sign}{digits[:point]}.{digits[point:]}" if decimals else f"{sign}{digits}"
    return str(value)


def _run(arguments: Mapping[str, Any]) -> str:
    return calculate(arguments["expression"])


def _start() -> Run:
    return _run


CALCULATOR = Tool(
    name="calculator",
    description="Compute an arithmetic expression exactly.",
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "Numbers, + - * / // % ** and parentheses"}},
        "required": ["expression"],
        "additionalProperties": False,
    },
    start=_start,
)
