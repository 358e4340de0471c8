"""Integers of any practical length as text. Python converts at most 4,300 digits, because the time is quadratic.

The sandbox lifts Python's limit, as programs have limits of their own there. In this process conversions go through
`Decimal` and stop at MAX_DIGITS, without a change to the interpreter's global setting.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from copy import deepcopy
from decimal import Decimal

MAX_DIGITS = 50_000  # conversion takes about 0.2 s
MAX_SOURCE = 1_000_000  # characters of Python that are searched for long integers
_PLAIN_DIGITS = 4_300
_PLAIN_BITS = 14_000  # fewer than 4,300 digits
MAX_BITS = 3 * MAX_DIGITS
_LONG = re.compile(rf"\d{{{_PLAIN_DIGITS},}}", re.ASCII)


def read(text: str) -> int:
    """Convert decimal digits with an optional sign. Raises ValueError for more than MAX_DIGITS characters."""
    if len(text) <= _PLAIN_DIGITS:
        return int(text)
    if len(text) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits: at most {MAX_DIGITS} are read")
    return int(Decimal(text))


def write(value: int) -> str:
    """Convert to decimal digits. Raises ValueError for an integer of about MAX_DIGITS digits or more."""
    if value.bit_length() <= _PLAIN_BITS:
        return str(value)
    if value.bit_length() > MAX_BITS:
        raise ValueError(f"an integer of {value.bit_length()} bits: at most {MAX_BITS} are written")
    return format(Decimal(value), "f")


def parse(source: str) -> ast.Module:
    """Parse a program whose integers may be long. Raises what `ast.parse` raises."""
    return ast.parse(_in_hexadecimal(source))


def parse_expression(source: str) -> ast.expr:
    """Parse one expression whose integers may be long. Raises what `ast.parse` raises."""
    return ast.parse(_in_hexadecimal(source), mode="eval").body


def unparse(tree: ast.AST) -> str:
    """Write a tree as Python; long integers become `int('0x...', 16)`, as `ast.unparse` would write them in decimal."""
    return ast.unparse(ast.fix_missing_locations(_Hexadecimal().visit(deepcopy(tree))))


class _Hexadecimal(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if type(node.value) is not int or node.value.bit_length() <= _PLAIN_BITS:
            return node
        return ast.Call(ast.Name("int", ast.Load()), [ast.Constant(hex(node.value)), ast.Constant(16)], [])


def _in_hexadecimal(source: str) -> str:
    """Replace the long decimal integers of Python source, but not those in its strings."""
    if len(source) > MAX_SOURCE or not _LONG.search(source):
        return source
    lines = list(io.StringIO(source))
    try:
        tokens = list(tokenize.generate_tokens(iter(lines).__next__))
    except (tokenize.TokenError, SyntaxError):
        return source  # the parser says what is wrong
    for token in reversed(tokens):
        if token.type == tokenize.NUMBER and _LONG.fullmatch(token.string):
            (row, start), (_, end) = token.start, token.end
            lines[row - 1] = lines[row - 1][:start] + hex(read(token.string)) + lines[row - 1][end:]
    return "".join(lines)
