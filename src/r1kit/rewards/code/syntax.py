"""Python source with long integers (see `r1kit.integers`).

The sandbox lifts Python's limit, as programs have limits of their own there.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from copy import deepcopy

from r1kit import integers

MAX_SOURCE = 1_000_000  # characters of Python that are searched for long integers
_LONG = re.compile(rf"\d{{{integers.PLAIN_DIGITS},}}", re.ASCII)


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
        if type(node.value) is not int or node.value.bit_length() <= integers.PLAIN_BITS:
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
            lines[row - 1] = lines[row - 1][:start] + hex(integers.read(token.string)) + lines[row - 1][end:]
    return "".join(lines)
