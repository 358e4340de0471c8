"""Read values that are written as Python, without evaluating anything: literals, and constructors as `repr` shows them.

Every constructor takes time and memory in proportion to its text: `range(10**9)` stays a range, and it cannot become
a set or a list here.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from r1kit.rewards.code import syntax
from r1kit.rewards.sandbox.guest.remote import TAG

_CONTAINERS: dict[str, Callable[..., Any]] = {kind.__name__: kind for kind in (list, tuple, set, frozenset, deque)}
_SIZED = (str, bytes, list, tuple, set, frozenset, dict)
_DICTS = ("Counter", "OrderedDict")
_FLOATS = ("inf", "nan", "-inf", "infinity", "-infinity")


class NoValue(ValueError):
    """Raised for a text that is not the required kind of value."""


def read_value(text: str | ast.expr) -> Any:
    """Return the value of a literal or a constructor. Raises NoValue for everything else."""
    try:
        return _value(expression(text) if isinstance(text, str) else text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise NoValue("not a literal value") from error


def expression(text: str) -> ast.expr:
    """Parse one expression, or an assertion. Raises NoValue."""
    try:
        return syntax.parse_expression(text.strip().removeprefix("assert "))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise NoValue(f"not Python: {text[:80]!r} ({type(error).__name__})") from error


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)](map(_value, node.elts))
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise NoValue("** inside a dict")
        return {_value(key): _value(item) for key, item in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.Call) and not node.keywords:
        return _constructed(ast.unparse(node.func).rpartition(".")[2], [_value(arg) for arg in node.args])
    if isinstance(node, ast.Name) and node.id in _FLOATS:
        return float(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Name):
        return -_value(node.operand)
    return ast.literal_eval(node)


def _constructed(name: str, args: list[Any]) -> Any:
    """Return the value of `name(*args)`. A subclass of dict becomes a tagged pair, as a dict does not equal it here."""
    kinds = [type(arg) for arg in args]
    if name == "bytearray" and kinds in ([], [bytes]):
        return bytearray(*args)
    if name in _CONTAINERS and len(args) <= 1 and all(kind in _SIZED for kind in kinds):
        return _CONTAINERS[name](*args)
    if name in _DICTS and len(args) <= 1 and all(kind in (dict, list) for kind in kinds):
        return (TAG + name, dict(*args))
    if name == "float" and kinds == [str] and args[0].lower() in _FLOATS:
        return float(args[0])
    if name == "Decimal" and kinds == [str]:
        return Decimal(args[0])
    if name == "Fraction" and kinds == [int, int]:
        return Fraction(*args)
    if name == "range" and kinds and all(kind is int for kind in kinds):
        return range(*args)
    raise NoValue(f"{name}(...) is not a literal value")
