"""Running a program on its tests in the sandbox: one trial a test. What is expected stays on this side, or in an
interpreter where the program is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from r1kit.rewards.code.asserts import Call, Split, TestsError
from r1kit.rewards.code.compare import same_output, shown
from r1kit.rewards.code.program import runnable
from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.base import Language, Limits, Outcome, Sandbox, Task
from r1kit.rewards.sandbox.guest.remote import CHANGED, pack

ROUNDS = 12  # of tests and program, until the tests ask nothing new
SYNTAX = ("SyntaxError", "IndentationError", "TabError", "CompileError")


class Trial(NamedTuple):
    """How one test went, and what to say about it."""

    status: Literal["passed", "failed", "unparseable", "over_limit", "infra_error"]
    note: str = ""


def by_input(
    sandbox: Sandbox, program: str, tests: Iterable[tuple[str, str]], limits: Limits, language: Language = "python"
) -> list[Trial]:
    """(input, output) pairs, each in a fresh process under its own limits. None are run after one over a limit."""
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
    """Calls in one interpreter; `same(expected, got)` compares packed values."""
    operations = [
        {
            "function": call.function,
            "args": _encoded(list(call.args)),
            "kwargs": {name: _encoded(value) for name, value in call.kwargs.items()},
        }
        for call in calls
    ]
    trials = []
    for call, outcome in zip(calls, _carry_out(sandbox, program, operations, limits), strict=True):
        got = outcome.value
        if type(got) is tuple and len(got) == 3 and got[0] == CHANGED:
            got = got[1]
        right = outcome.status == "ok" and same(pack(call.expected, _foreign), got)
        trials.append(_trial(outcome, right, f"{call.function}{shown(call.args)} gave", call.expected))
    return trials


def by_replay(sandbox: Sandbox, program: str, split: Split, limits: Limits) -> list[Trial]:
    """Tests that are programs themselves: one trial an assertion they come to. See `guest.testing`."""
    record: list[dict[str, Any]] = []
    for _ in range(ROUNDS):
        request = json.dumps({"tests": split.tests, "names": split.names, "record": record})
        [examined] = sandbox.run(Task("tests", "", (request,)), limits).outcomes
        if examined.status == "error":
            raise TestsError(f"the tests cannot be run: {examined.detail}")
        if examined.status != "ok":
            return [Trial(examined.status, f"in the tests: {examined.detail}")]
        text, judged = examined.value  # type: ignore[misc]
        operations = json.loads(text)
        if operations == [entry["operation"] for entry in record]:
            if not operations or not judged:
                raise TestsError("the tests assert nothing about the program")
            failed = _worst(record)
            return [Trial("passed" if passed else failed, note) for passed, note in judged]
        for entry in record:
            if entry["status"] == "over_limit":  # and it is asked yet more
                return [Trial("over_limit", entry["detail"])]
        outcomes = _carry_out(sandbox, program, operations, limits)
        for outcome in outcomes:
            if outcome.status == "infra_error":
                return [Trial("infra_error", outcome.detail)]
        record = list(map(_entry, operations, outcomes))
    return [Trial("failed", f"the program's answers still changed after {ROUNDS} rounds")]


def _entry(operation: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """What `guest.testing` is told of an operation."""
    try:
        value = codec.encode(outcome.value)
    except codec.CodecError as error:  # too many items
        return {"operation": operation, "status": "error", "value": None, "detail": str(error)}
    return {"operation": operation, "status": outcome.status, "value": value, "detail": outcome.detail}


def _carry_out(sandbox: Sandbox, program: str, operations: Iterable[dict], limits: Limits) -> tuple[Outcome, ...]:
    return sandbox.run(Task("call", runnable(program), tuple(map(json.dumps, operations))), limits).outcomes


def _trial(outcome: Outcome, right: bool, what: str, expected: Any) -> Trial:
    if outcome.status == "ok":
        note = "" if right else f"{what} {shown(outcome.value)}, not {shown(expected)}"
        return Trial("passed" if right else "failed", note)
    if outcome.status == "error":
        return Trial("unparseable" if outcome.detail.startswith(SYNTAX) else "failed", f"{what} {outcome.detail}")
    return Trial(outcome.status, outcome.detail)


def _worst(record: Sequence[dict[str, Any]]) -> Literal["failed", "unparseable", "over_limit"]:
    """What a failed assertion is put down to."""
    if any(entry["status"] == "over_limit" for entry in record):
        return "over_limit"
    return "unparseable" if all(entry["detail"].startswith(SYNTAX) for entry in record) else "failed"


def _encoded(value: Any) -> Any:
    return codec.encode(pack(value, _foreign))


def _foreign(value: Any) -> tuple:
    raise TestsError(f"a {type(value).__name__} cannot be given to a program")
