"""Parse tests that are Python assertions, and separate the calls of the program from the rest.

Most tests are `assert f(1, 2) == 3`, or `check(candidate)` with such assertions inside: `plain_calls` turns them into
calls and expected values. For all others `split` keeps the tests complete and lists the names that belong to the
program; `guest.testing` runs them in an interpreter without the program.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeGuard

from r1kit.rewards.code import syntax
from r1kit.rewards.sandbox.guest.testing import KNOWN


class TestsError(ValueError):
    """Raised for unusable tests; no answer can be graded with them."""

    __test__ = False  # tells pytest that this is not a test class


class NoEntryPoint(TestsError):
    """Raised when the tests do not name the function; the program must."""


@dataclass(frozen=True)
class Call:
    """One call of the program and its expected result."""

    function: str  # "f" or "Solution().f"
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    expected: Any


@dataclass(frozen=True)
class Split:
    """Tests that run without the program, and the names in them that belong to the program."""

    tests: tuple[str, ...]  # every assertion is wrapped in `with __assertion__(its text):`
    names: tuple[str, ...]


@lru_cache(maxsize=1024)
def parsed(tests: tuple[str, ...], entry_point: str | None) -> tuple[ast.Module, ...]:
    """Parse the tests, and add the call of `check(candidate)` that HumanEval leaves to the harness."""
    try:
        trees = tuple(syntax.parse(test.strip()) for test in tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TestsError(f"a test is not valid Python: {error}") from error
    for tree in trees:
        if any(map(_is_check, tree.body)) and not any(map(_check_call, tree.body)):
            if entry_point is None:
                raise NoEntryPoint("the tests define check(candidate) but never call it, and no function is given")
            tree.body.extend(ast.parse(f"check({entry_point})").body)
    return trees


def is_reserved(name: str) -> bool:
    """Return whether tests may use the name for something other than the program."""
    return name in KNOWN or name in vars(builtins)


@lru_cache(maxsize=1024)
def plain_calls(tests: tuple[str, ...], entry_point: str | None = None) -> tuple[Call, ...] | None:
    """Return the tests as calls and expected values if each is `f(literals) == literal`, else None."""
    statements = [statement for tree in parsed(tests, entry_point) for statement in _statements(tree)]
    calls = [call for node, names in statements if (call := _plain_call(node, names)) is not None]
    return tuple(calls) if len(calls) == len(statements) else None


@lru_cache(maxsize=1024)
def split(tests: tuple[str, ...], entry_point: str | None = None) -> Split:
    """Mark the assertions of the tests, and find the names that belong to the program.

    These are the names that neither the tests, nor Python, nor `KNOWN` define; otherwise a program could supply its own
    `abs`. If there are none, they are the functions that the assertions call first, since a task may ask for a `sum` or
    a `gcd`.
    """
    trees = parsed(tests, entry_point)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    names = loaded - _bound(nodes) - vars(builtins).keys() - KNOWN.keys()
    names |= {name for name in loaded if name == entry_point}
    names = names or {name for node in nodes if isinstance(node, ast.Assert) and (name := _called_first(node.test))}
    if not names:
        raise TestsError("the tests never call the program")
    marked = (ast.fix_missing_locations(_Marked().visit(deepcopy(tree))) for tree in trees)
    return Split(tuple(map(syntax.unparse, marked)), tuple(sorted(names)))


def program_names(tests: tuple[str, ...], entry_point: str | None = None) -> tuple[str, ...]:
    """Return the functions and classes of the program that the tests use; none if they leave the choice to it."""
    try:
        calls = plain_calls(tests, entry_point)
    except NoEntryPoint:
        return ()
    return tuple({call.function for call in calls}) if calls else split(tests, entry_point).names


def _bound(nodes: Sequence[ast.AST]) -> set[str]:
    """Return all names that the tests define anywhere."""
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}
    return bound | {(node.asname or node.name).split(".")[0] for node in nodes if isinstance(node, ast.alias)}


def _called_first(node: ast.expr) -> str | None:
    """Return the name of the function whose result the leftmost operand of an assertion is."""
    while not isinstance(node, ast.Call):
        if isinstance(node, ast.Compare):
            node = node.left
        elif isinstance(node, ast.UnaryOp):
            node = node.operand
        else:
            return None
    return node.func.id if isinstance(node.func, ast.Name) else None


class _Marked(ast.NodeTransformer):
    """Rewrites `assert x` as `with __assertion__("x"): assert x`, and removes `assert True`."""

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        if isinstance(node.test, ast.Constant) and node.test.value:
            return ast.Pass()
        mark = ast.Call(ast.Name("__assertion__", ast.Load()), [ast.Constant(syntax.unparse(node.test))], [])
        return ast.With([ast.withitem(mark)], [node])


# --- plain calls ----------------------------------------------------------------------------------------------------


def _is_check(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and node.name == "check" and len(node.args.args) == 1


def _check_call(node: ast.stmt) -> ast.Call | None:
    """Return the call if the statement is `check(...)`."""
    call = node.value if isinstance(node, ast.Expr) else None
    is_check = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"
    return call if isinstance(call, ast.Call) and is_check else None


def _statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, dict[str, str]]]:
    """Yield the statements that run, and what names in them stand for; `check(f)` is replaced by its statements."""
    checks = [node for node in tree.body if _is_check(node)]
    check = checks[0] if len(checks) == 1 else None
    for node in tree.body:
        if (check and node is check) or _has_no_effect(node):
            continue
        call = _check_call(node)
        if check and call and len(call.args) == 1:
            names = {check.args.args[0].arg: ast.unparse(call.args[0])}
            yield from ((inner, names) for inner in check.body if not _has_no_effect(inner))
        else:
            yield node, {}


def _has_no_effect(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring, `pass`, `assert True` or METADATA."""
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets] == ["METADATA"]
    value = node.value if isinstance(node, ast.Expr) else node.test if isinstance(node, ast.Assert) else None
    return isinstance(node, ast.Pass) or (isinstance(value, ast.Constant) and bool(value.value))


def _plain_call(node: ast.stmt, names: dict[str, str]) -> Call | None:
    """Parse `assert f(literals) == literal`; None for any other statement."""
    test = node.test if isinstance(node, ast.Assert) else None
    if not (isinstance(test, ast.Compare) and isinstance(test.left, ast.Call) and len(test.ops) == 1):
        return None
    if not isinstance(test.ops[0], ast.Eq) or not (function := _function(test.left.func, names)):
        return None
    try:
        args = tuple(map(ast.literal_eval, test.left.args))
        kwargs = {word.arg: ast.literal_eval(word.value) for word in test.left.keywords if word.arg}
        expected = ast.literal_eval(test.comparators[0])
    except (ValueError, TypeError, RecursionError):
        return None
    return Call(function, args, kwargs, expected) if len(kwargs) == len(test.left.keywords) else None


def _function(node: ast.expr, names: dict[str, str]) -> str | None:
    """Return "f" or "Solution().f" if the called expression has this form."""
    name = syntax.unparse(node)
    name = names.get(name, name)
    owner, dot, method = name.rpartition("().")
    return name if method.isidentifier() and (not dot or owner.isidentifier()) else None
