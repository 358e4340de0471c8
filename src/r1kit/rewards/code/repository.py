"""The verifier `repository`: changes to a small repository of Python files, judged by hidden tests in the sandbox.

The tests are programs of assertions that import the repository's modules. As with single programs, they run in an
interpreter of their own, so the repository meets their arguments and never an expected value (see `trials.by_replay`).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from r1kit.data.repository import ChangeError, changed
from r1kit.hashing import canonical_json
from r1kit.rewards import services
from r1kit.rewards.checks.base import Row, Verifier, fields
from r1kit.rewards.code import syntax
from r1kit.rewards.code.grade import judge_program
from r1kit.rewards.reply import Reply
from r1kit.rewards.sandbox.base import Limits
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem

SECONDS, MAX_SECONDS = 5.0, 120.0  # of CPU time for all tests together
FUEL_PER_SECOND = Limits.fuel / Limits.cpu_seconds
INSTALL = "from r1kit.rewards.sandbox.guest.modules import install\n"


@dataclass(frozen=True, slots=True)
class Repository:
    """The gold of a problem: files before the change, and the tests of it."""

    files: Mapping[str, str]
    tests: tuple[str, ...]
    imports: tuple[str, ...]  # statements of the tests that import from the repository
    seconds: float

    @property
    def limits(self) -> Limits:
        """The limits of all tests together."""
        return Limits(fuel=int(self.seconds * FUEL_PER_SECOND), cpu_seconds=self.seconds)


def program_of(files: Mapping[str, str], imports: Sequence[str]) -> str:
    """Return one program that holds the files as modules and imports what the tests need."""
    return "\n".join([f"{INSTALL}install({dict(files)!r})", *imports]) + "\n"


def _read(problem: Problem) -> Repository:
    files, tests = problem.extra["files"], problem.extra["tests"]
    seconds = problem.extra.get("seconds") or SECONDS
    if not isinstance(files, Mapping) or not files or not all(isinstance(text, str) for text in files.values()):
        raise ValueError('files must be an object of texts by path, such as {"shop/cart.py": "..."}')
    tests = [tests] if isinstance(tests, str) else tests
    if not isinstance(tests, Sequence) or not tests or not all(isinstance(test, str) for test in tests):
        raise ValueError("tests must be a list of Python programs with assertions")
    if not isinstance(seconds, int | float) or not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"seconds = {seconds!r}: must be a number above 0, at most {MAX_SECONDS:g}")
    return Repository(
        files,
        *_parted(tuple(tests), frozenset(path.split("/")[0].removesuffix(".py") for path in files)),
        float(seconds),
    )


@lru_cache(maxsize=256)
def _parted(tests: tuple[str, ...], modules: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (tests without imports from the repository, these imports). ValueError if a test is not valid Python.

    Args:
        tests: Programs.
        modules: First parts of the names of the repository's modules.
    """
    rest, imports = list[str](), list[str]()
    for test in tests:
        try:
            tree = syntax.parse(test)
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"a test is not valid Python: {error}") from error
        own = [node for node in tree.body if _imported(node) in modules]
        imports += map(syntax.unparse, own)
        tree.body = [node for node in tree.body if node not in own]
        rest += [syntax.unparse(tree)] if tree.body else []
    return tuple(rest), tuple(dict.fromkeys(imports))


def _imported(node: ast.stmt) -> str:
    """Return the first part of MODULE in `from MODULE import NAMES`; "" for other statements."""
    return (node.module or "").partition(".")[0] if isinstance(node, ast.ImportFrom) else ""


def _judge(gold: Repository, reply: Reply) -> Verdict:
    if not (answer := reply.body):
        return reply.no_answer()
    try:
        files = changed(gold.files, answer)
    except ChangeError as error:
        return Verdict(0.0, None, str(error), "unparseable")
    verdict = replace(_tested(gold, files), extracted=_shown(gold.files, files))
    if verdict.masked or not 0 < verdict.value < 1:
        return verdict
    try:
        before = _share_before(canonical_json(asdict(gold)))
    except _Untested as error:
        return replace(verdict, status="infra_error", reason=str(error))
    return replace(verdict, value=max(0.0, (verdict.value - before) / (1 - before)) if before < 1 else 0.0)


def _tested(gold: Repository, files: Mapping[str, str]) -> Verdict:
    return judge_program(program_of(files, gold.imports), gold.tests, services.sandbox(), gold.limits)


class _Untested(Exception):
    """The repository without a change could not be tested."""


@lru_cache(maxsize=1024)
def _share_before(gold: bytes) -> float:
    """Return the share of tests that pass without a change, which pays for none of it. _Untested is not cached."""
    repository = Repository(**json.loads(gold))
    verdict = _tested(repository, repository.files)
    if verdict.masked:
        raise _Untested(f"without a change: {verdict.reason}")
    return verdict.value


def _shown(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the names of the changed files, for reports."""
    return "changed " + (", ".join(path for path in after if before.get(path) != after[path]) or "nothing")


def _from_row(row: Row) -> dict[str, Any]:
    return fields("files", "tests", "seconds")(row)


VERIFIER = Verifier(_read, _judge, from_row=_from_row, service="sandbox")
