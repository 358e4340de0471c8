"""Tests written as Python assertions: what of them is a call of the program, and what is expected.

Nearly all are `assert f(1, 2) == 3`, or `check(candidate)` around such: `plain_calls` takes them apart into calls and
expected values. For all others `split` keeps the test whole and names what in it is the program's; `guest.testing` runs
it, in an interpreter where the program is not.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from r1kit.rewards.sandbox.guest.testing import KNOWN


class TestsError(ValueError):
    """The tests themselves cannot be used: no answer can be graded by them."""

    __test__ = False  # not a test class of pytest's


class NoEntryPoint(TestsError):
    """Only the program can say which of its functions is meant."""


@dataclass(frozen=True)
class Call:
    """One call of the program's and what it must return."""

    function: str  # "f" or "Solution().f"
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    expected: Any


@dataclass(frozen=True)
class Split:
    """Tests that run without the program, and the names in them that are the program's."""

    tests: tuple[str, ...]  # every assertion noted by `with __assertion__(its text):`
    names: tuple[str, ...]


@lru_cache(maxsize=1024)
def parsed(tests: tuple[str, ...], entry_point: str | None) -> tuple[ast.Module, ...]:
    """Each test as a syntax tree, with the call that HumanEval's `check(candidate)` leaves to the harness."""
    try:
        trees = tuple(ast.parse(test.strip()) for test in tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TestsError(f"a test is not valid Python: {error}") from error
    for tree in trees:
        if any(map(_is_check, tree.body)) and not any(map(_calls_check, tree.body)):
            if entry_point is None:
                raise NoEntryPoint("the tests define check(candidate) but never call it, and no function is given")
            tree.body.extend(ast.parse(f"check({entry_point})").body)
    return trees


def reserved(name: str) -> bool:
    """Whether tests may use the name for what is not the program's."""
    return name in KNOWN or name in vars(builtins)


def plain_calls(tests: tuple[str, ...], entry_point: str | None = None) -> tuple[Call, ...] | None:
    """The tests as calls and expected values, when every one of them is `f(literals) == literal`; else None."""
    calls = [_plain_call(node, names) for tree in parsed(tests, entry_point) for node, names in _statements(tree)]
    return None if None in calls else tuple(calls)  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def split(tests: tuple[str, ...], entry_point: str | None = None) -> Split:
    """Tests with their assertions marked, and the program's names.

    The program's are the names that nobody else defines: not the tests, not Python, not `KNOWN`. Otherwise a program
    could bring its own `abs`. Only when that leaves none, it is the functions that the assertions call first: a task
    may ask for a `sum` or a `gcd`.
    """
    trees = parsed(tests, entry_point)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    names = (loaded - _bound(nodes) - vars(builtins).keys() - KNOWN.keys()) | ({entry_point} & loaded)
    names = names or {name for node in nodes if isinstance(node, ast.Assert) and (name := _called_first(node.test))}
    if not names:
        raise TestsError("the tests never call the program")
    marked = (ast.fix_missing_locations(_Marked().visit(deepcopy(tree))) for tree in trees)
    return Split(tuple(map(ast.unparse, marked)), tuple(sorted(names)))


def _bound(nodes: Sequence[ast.AST]) -> set[str]:
    """All names that the tests themselves define anywhere."""
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}
    return bound | {(node.asname or node.name).split(".")[0] for node in nodes if isinstance(node, ast.alias)}


def _called_first(node: ast.expr) -> str | None:
    while not isinstance(node, ast.Call):
        if isinstance(node, ast.Compare):
            node = node.left
        elif isinstance(node, ast.UnaryOp):
            node = node.operand
        else:
            return None
    return node.func.id if isinstance(node.func, ast.Name) else None


class _Marked(ast.NodeTransformer):
    """`assert x` as `with __assertion__("x"): assert x`. `assert True` says nothing, and goes."""

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        if isinstance(node.test, ast.Constant) and node.test.value:
            return ast.Pass()
        mark = ast.Call(ast.Name("__assertion__", ast.Load()), [ast.Constant(ast.unparse(node.test))], [])
        return ast.With([ast.withitem(mark)], [node])


# --- the plain form -------------------------------------------------------------------------------------------------


def _is_check(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "check" and len(node.args.args) == 1


def _calls_check(node: ast.stmt) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"


def _statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, dict[str, str]]]:
    """The statements that run, with what names in them stand for: those of `check` in place of its call."""
    checks = [node for node in tree.body if _is_check(node)]
    for node in tree.body:
        if len(checks) == 1 and node is checks[0] or _says_nothing(node):
            continue
        if len(checks) == 1 and _calls_check(node) and len(node.value.args) == 1:
            names = {checks[0].args.args[0].arg: ast.unparse(node.value.args[0])}
            yield from ((inner, names) for inner in checks[0].body if not _says_nothing(inner))
        else:
            yield node, {}


def _says_nothing(node: ast.stmt) -> bool:
    """A docstring, `pass`, `assert True`, METADATA."""
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets] == ["METADATA"]
    said = {ast.Expr: "value", ast.Assert: "test"}.get(type(node))
    value = said and getattr(node, said)
    return isinstance(node, ast.Pass) or (isinstance(value, ast.Constant) and bool(value.value))


def _plain_call(node: ast.stmt, names: dict[str, str]) -> Call | None:
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
    """ "f" or "Solution().f", when the program is called by such a name."""
    name = ast.unparse(node)
    name = names.get(name, name)
    owner, dot, method = name.rpartition("().")
    return name if method.isidentifier() and (not dot or owner.isidentifier()) else None
