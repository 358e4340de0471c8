"""Run a program on its tests in the sandbox, one trial per test.

Expected values stay outside the program's interpreter: on this side, or in an interpreter of the tests alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

from r1kit.rewards.code.asserts import Call, Split, TestsError
from r1kit.rewards.code.compare import same_output, shown
from r1kit.rewards.code.program import runnable
from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.base import Language, Limits, Outcome, Sandbox, Task
from r1kit.rewards.sandbox.guest.remote import CHANGED, pack
from r1kit.rewards.sandbox.guest.testing import Entry, Operation

MAX_ROUNDS = 12  # of alternately running the tests and the program, see `by_replay`
SYNTAX = ("SyntaxError", "IndentationError", "TabError", "CompileError")


class Trial(NamedTuple):
    """The result of one test, with a note for the reason."""

    status: Literal["passed", "failed", "unparseable", "over_limit", "infra_error"]
    note: str = ""


def by_input(
    sandbox: Sandbox, program: str, tests: Iterable[tuple[str, str]], limits: Limits, language: Language = "python"
) -> list[Trial]:
    """Run (input, output) pairs, each in a fresh process with its own limits. Stop after the first one over a limit."""
    trials: list[Trial] = []
    for text, expected in tests:
        if trials and trials[-1].status == "over_limit":
            trials.append(trials[-1])
            continue
        [outcome] = sandbox.run(Task("stdin", program, (text,), language), limits).outcomes
        right = outcome.status == "ok" and same_output(expected, str(outcome.value))
        trials.append(_trial(outcome, right, f"for the input {shown(text)} printed", expected))
    return trials


def by_call(
    sandbox: Sandbox, program: str, calls: Sequence[Call], limits: Limits, same: Callable[[Any, Any], bool]
) -> list[Trial]:
    """Run all calls in one interpreter; `same(expected, got)` compares packed values."""
    operations: list[Operation] = [
        {
            "function": call.function,
            "args": _encoded(list(call.args)),
            "kwargs": {name: _encoded(value) for name, value in call.kwargs.items()},
        }
        for call in calls
    ]
    trials = []
    for call, outcome in zip(calls, _run_operations(sandbox, program, operations, limits), strict=True):
        got = outcome.value
        if type(got) is tuple and len(got) == 3 and got[0] == CHANGED:
            got = got[1]
        right = outcome.status == "ok" and same(pack(call.expected, _foreign), got)
        trials.append(_trial(outcome, right, f"{call.function}{shown(call.args)} gave", call.expected))
    return trials


def by_replay(sandbox: Sandbox, program: str, split: Split, limits: Limits) -> list[Trial]:
    """Run tests that are programs themselves: one trial per assertion that they reach.

    The tests and the program run alternately in separate interpreters until the tests request no new operation of the
    program; see `guest.testing`.
    """
    record: list[Entry] = []
    for _ in range(MAX_ROUNDS):
        request = json.dumps({"tests": split.tests, "names": split.names, "record": record})
        [examined] = sandbox.run(Task("tests", "", (request,)), limits).outcomes
        if examined.status == "error":
            raise TestsError(f"the tests cannot be run: {examined.detail}")
        if examined.status != "ok":
            return [Trial(examined.status, f"in the tests: {examined.detail}")]
        examination: Any = examined.value
        text, judged = examination
        operations = json.loads(text)
        if operations == [entry["operation"] for entry in record]:
            if not operations or not judged:
                raise TestsError("the tests assert nothing about the program")
            failed = _failure_status(record)
            return [Trial("passed" if passed else failed, note) for passed, note in judged]
        for entry in record:
            if entry["status"] == "over_limit":  # the tests need results beyond the limit
                return [Trial("over_limit", entry["detail"])]
        outcomes = _run_operations(sandbox, program, operations, limits)
        for outcome in outcomes:
            if outcome.status == "infra_error":
                return [Trial("infra_error", outcome.detail)]
        record = list(map(_entry, operations, outcomes))
    return [Trial("failed", f"the program's answers still changed after {MAX_ROUNDS} rounds")]


def _entry(operation: Operation, outcome: Outcome) -> Entry:
    """Record an operation and its outcome for `guest.testing`."""
    try:
        value = codec.encode(outcome.value)
    except codec.CodecError as error:  # too many items
        return {"operation": operation, "status": "error", "value": None, "detail": str(error)}
    return {"operation": operation, "status": outcome.status, "value": value, "detail": outcome.detail}


def _run_operations(
    sandbox: Sandbox, program: str, operations: Iterable[Operation], limits: Limits
) -> tuple[Outcome, ...]:
    return sandbox.run(Task("call", runnable(program), tuple(map(json.dumps, operations))), limits).outcomes


def _trial(outcome: Outcome, right: bool, what: str, expected: Any) -> Trial:
    """Return the trial; its note starts with `what`, such as "f(1) gave"."""
    if outcome.status == "ok":
        note = "" if right else f"{what} {shown(outcome.value)}, not {shown(expected)}"
        return Trial("passed" if right else "failed", note)
    if outcome.status == "error":
        return Trial("unparseable" if outcome.detail.startswith(SYNTAX) else "failed", f"{what} {outcome.detail}")
    return Trial(outcome.status, outcome.detail)


def _failure_status(record: Sequence[Entry]) -> Literal["failed", "unparseable", "over_limit"]:
    """Return the status of failed assertions: the cause may be a limit, or a syntax error of the program."""
    if any(entry["status"] == "over_limit" for entry in record):
        return "over_limit"
    return "unparseable" if all(entry["detail"].startswith(SYNTAX) for entry in record) else "failed"


def _encoded(value: Any) -> codec.Encoded:
    return codec.encode(pack(value, _foreign))


def _foreign(value: Any) -> NoReturn:
    raise TestsError(f"a {type(value).__name__} cannot be passed to a program")
