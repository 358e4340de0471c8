"""The reward of a program: the share of its tests that pass. In three modes, all in the sandbox."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from r1kit.rewards.code import trials
from r1kit.rewards.code.asserts import Call, NoEntryPoint, TestsError, plain_calls, reserved, split
from r1kit.rewards.code.compare import same_json
from r1kit.rewards.code.program import LONGEST, entry_point, extract
from r1kit.rewards.code.trials import Trial
from r1kit.rewards.sandbox.base import Language, Limits, Sandbox
from r1kit.rewards.sandbox.codec import CodecError
from r1kit.rewards.verdict import Verdict

Mode = Literal["assert", "call", "stdin"]
LIMITS = Limits()


def grade(
    response: str,
    tests: Any,
    mode: Mode | None,
    sandbox: Sandbox,
    *,
    problem: str = "",
    function: str | None = None,
    think_open: bool = False,
    limits: Limits = LIMITS,
    language: Language = "python",
) -> Verdict:
    """How a response's program does on `tests`; its value is the share that passed, and it is right when all did.

    mode: "assert" (Python assertions, or a program of them), "call" ([args, expected] pairs) or "stdin" ({"input",
    "output"} pairs); None reads it off the tests. function: the one to call, where tests do not say; else it is looked
    for in the program, by the help of the problem's text. limits: of one stdin test, or of all calls together.
    C++ has the mode "stdin" only, and the tier `namespaces`. Tests that cannot be used are an infra_error: no statement
    about the program.
    """
    program = extract(response, think_open, language)
    if program is None:
        return Verdict(0.0, None, "no program found", "unparseable")
    if len(program) > LONGEST:
        return Verdict(0.0, program, f"the program has {len(program)} characters, allowed are {LONGEST}", "over_limit")
    if not program.isascii() and any("\ud800" <= character <= "\udfff" for character in program):
        return Verdict(0.0, program, "the program holds half a surrogate pair", "unparseable")
    try:
        if language == "cpp":
            if mode_of(tests, mode) != "stdin":
                raise TestsError("a C++ program is tested by what it reads and prints")
            pairs = [_text_pair(test) for test in _listed(tests, function)[0]]
            return _verdict(program, trials.by_input(sandbox, program, pairs, limits, language))
        return _verdict(program, _trials(program, tests, mode, sandbox, problem, function, limits))
    except (TestsError, CodecError) as error:  # the latter: a test's own values are too deep or too many
        return Verdict(0.0, program, f"cannot be graded: {error}", "infra_error")


def _trials(
    program: str, tests: Any, mode: Mode | None, sandbox: Sandbox, problem: str, function: str | None, limits: Limits
) -> list[Trial]:
    listed, function = _listed(tests, function)
    mode = mode or _mode_of(listed[0])
    if mode == "assert":
        texts = tuple(test for test in listed if isinstance(test, str))
        if len(texts) < len(listed):
            raise TestsError('in the mode "assert" every test is a text of Python assertions')
        try:
            calls = plain_calls(texts, function)
        except NoEntryPoint:
            function = entry_point(program, problem)
            if function is None or reserved(function):  # whoever names his own function `abs` would own the tests' too
                return [Trial("unparseable", "the program defines no function to call")]
            calls = plain_calls(texts, function)
        if calls:
            return trials.by_call(sandbox, program, calls, limits, operator.eq)
        return trials.by_replay(sandbox, program, split(texts, function), limits)
    if mode == "stdin":
        return trials.by_input(sandbox, program, [_text_pair(test) for test in listed], limits)
    if mode != "call":
        raise TestsError(f"unknown mode {mode!r}: use {', '.join(get_args(Mode))}")
    if not (called := function or entry_point(program, problem)):
        return [Trial("unparseable", "the program defines no function to call")]
    return trials.by_call(sandbox, program, [_call(called, test) for test in listed], limits, same_json)


def _verdict(program: str, done: Sequence[Trial]) -> Verdict:
    if broken := [trial for trial in done if trial.status == "infra_error"]:
        return Verdict(0.0, program, broken[0].note, "infra_error")
    failed = [trial for trial in done if trial.status != "passed"]
    if not failed:
        return Verdict(1.0, program, f"all {len(done)} tests passed", "right")
    passed = len(done) - len(failed)
    status = "wrong" if failed[0].status == "failed" else failed[0].status
    return Verdict(passed / len(done), program, f"{passed} of {len(done)} tests passed; {failed[0].note}", status)


# --- the forms that tests come in -----------------------------------------------------------------------------------


def _listed(tests: Any, function: str | None) -> tuple[list[Any], str | None]:
    """The tests as a list and the function that they name. Data sets also keep them as one program, or as columns."""
    if isinstance(tests, Mapping):
        function = function or tests.get("entry_point") or tests.get("fn_name")
        if {"inputs", "outputs"} <= tests.keys():
            pairs = zip(tests["inputs"], tests["outputs"], strict=False)
            tests = [{"input": given, "output": expected} | {"call": bool(function)} for given, expected in pairs]
        else:
            tests = tests.get("functional") or tests.get("test")
    tests = [tests] if isinstance(tests, str) else tests
    if not isinstance(tests, Sequence) or not tests:
        raise TestsError(
            'there are no tests: give a list of assertions, of {"input", "output"}, or of [args, expected]'
        )
    return list(tests), function


def mode_of(tests: Any, mode: Mode | None) -> Mode:
    """The mode, read off the tests where it is not given. TestsError when there are none."""
    return mode or _mode_of(_listed(tests, None)[0][0])


def _mode_of(test: Any) -> Mode:
    if isinstance(test, str):
        return "assert"
    if isinstance(test, Mapping):
        return "call" if test.get("call") else "stdin"
    return "call"


def _text_pair(test: Any) -> tuple[str, str]:
    if not isinstance(test, Mapping) or not {"input", "output"} <= test.keys():
        raise TestsError(f'in the mode "stdin" a test is {{"input", "output"}}, this one is {str(test)[:80]}')
    given, expected = (
        "\n".join(map(str, t)) if isinstance(t, list) else str(t) for t in (test["input"], test["output"])
    )
    return given, expected


def _call(function: str, test: Any) -> Call:
    """[args, expected], or {"input", "output"} with args as a list or, as in LiveCodeBench, one JSON text a line."""
    if isinstance(test, Mapping) and {"input", "output"} <= test.keys():
        args, expected = test["input"], test["output"]
        if isinstance(args, str):
            try:
                args, expected = [json.loads(line) for line in args.splitlines()], json.loads(str(expected))
            except ValueError as error:
                raise TestsError(f"the arguments or the result of a call are not JSON: {error}") from error
    elif isinstance(test, Sequence) and not isinstance(test, str) and len(test) == 2:
        args, expected = test
    else:
        raise TestsError(f'in the mode "call" a test is [args, expected], this one is {str(test)[:80]}')
    if isinstance(args, Mapping):
        return Call(function, (), dict(args), expected)
    return Call(function, tuple(args) if isinstance(args, (list, tuple)) else (args,), {}, expected)
