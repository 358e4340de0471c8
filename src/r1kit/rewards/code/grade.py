"""Grade a program: the share of its tests that pass in the sandbox. Tests have three modes, see `Mode`."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from r1kit import integers
from r1kit.rewards.code import trials
from r1kit.rewards.code.asserts import (
    Call,
    NoEntryPoint,
    TestsError,
    is_reserved,
    plain_calls,
    program_names,
    split,
)
from r1kit.rewards.code.compare import same_json, shown
from r1kit.rewards.code.program import MAX_CHARACTERS, entry_point, extract
from r1kit.rewards.code.trials import Trial
from r1kit.rewards.sandbox.base import Language, Limits, Sandbox
from r1kit.rewards.sandbox.codec import CodecError
from r1kit.rewards.verdict import Verdict

# assert: Python assertions, or a program of them. call: [args, expected] pairs or {"args", "expected"}.
# stdin: {"input", "output"} pairs.
Mode = Literal["assert", "call", "stdin"]
LIMITS = Limits()
NO_FUNCTION = "the program defines no function to call"
ARGUMENTS, RESULTS = ("args", "input"), ("expected", "output")  # keys of a call test


def grade_program(
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
    """Run the program of a response on `tests`; return a verdict whose value is the share of tests that pass.

    Unusable tests give an `infra_error`, as they say nothing about the program.

    Args:
        response: The completion; see `program.extract` for where its program is.
        tests: The tests, in one of the forms that `_listed` accepts.
        mode: How to run the tests; None infers it from their form.
        sandbox: Runs the program. C++ needs the tier `namespaces`.
        problem: The problem's text, which helps to identify the function to call.
        function: The function to call, if the tests do not name it; None looks for it in the program.
        think_open: Whether the prompt ended in `<think>`.
        limits: The limits for one stdin test, or for all calls together.
        language: The language of the program. C++ has the mode "stdin" only.
    """
    try:
        listed, function = _listed(tests, function)
        mode = mode or _mode_of(listed[0])
        if language == "cpp" and mode != "stdin":
            raise TestsError('tests of C++ programs must have the mode "stdin"')
        program = extract(response, think_open, language, _needed_names(listed, mode, function))
    except TestsError as error:
        return Verdict(0.0, None, f"cannot be graded: {error}", "infra_error")
    if program is None:
        return Verdict(0.0, None, "no program found", "unparseable")
    if len(program) > MAX_CHARACTERS:
        reason = f"the program has {len(program)} characters: at most {MAX_CHARACTERS} are allowed"
        return Verdict(0.0, program, reason, "over_limit")
    if not program.isascii() and any("\ud800" <= character <= "\udfff" for character in program):
        return Verdict(0.0, program, "the program contains an unpaired surrogate", "unparseable")
    try:
        if mode == "stdin":
            pairs = [_text_pair(test) for test in listed]
            return _verdict(program, trials.by_input(sandbox, program, pairs, limits, language))
        if mode == "assert":
            return _verdict(program, _by_assertion(program, tuple(listed), sandbox, problem, function, limits))
        if not (entry := function or entry_point(program, problem)):
            return Verdict(0.0, program, NO_FUNCTION, "unparseable")
        calls = [_call(entry, test) for test in listed]
        return _verdict(program, trials.by_call(sandbox, program, calls, limits, same_json))
    except (TestsError, CodecError) as error:  # CodecError: the values of a test are too deep or too many
        return Verdict(0.0, program, f"cannot be graded: {error}", "infra_error")


def judge_program(program: str, tests: Sequence[str], sandbox: Sandbox, limits: Limits = LIMITS) -> Verdict:
    """Run tests that are Python assertions on a program; return a verdict as `grade_program` does."""
    try:
        return _verdict(program, _by_assertion(program, tuple(tests), sandbox, "", None, limits))
    except (TestsError, CodecError) as error:
        return Verdict(0.0, program, f"cannot be graded: {error}", "infra_error")


def _needed_names(tests: Sequence[Any], mode: Mode, function: str | None) -> tuple[str, ...] | None:
    """Return the names that the tests need of the program, as `program.extract` takes them. Raises TestsError."""
    if mode not in get_args(Mode):
        raise TestsError(f"unknown mode {mode!r}: use {', '.join(get_args(Mode))}")
    if mode == "stdin":
        return None
    if mode == "call":
        return (function,) if function else ()
    if not all(isinstance(test, str) for test in tests):
        raise TestsError('in mode "assert" every test must be a text of Python assertions')
    return program_names(tuple(tests), function)


def _by_assertion(
    program: str, tests: tuple[str, ...], sandbox: Sandbox, problem: str, function: str | None, limits: Limits
) -> list[Trial]:
    try:
        calls = plain_calls(tests, function)
    except NoEntryPoint:
        function = entry_point(program, problem)
        if function is None or is_reserved(function):  # a program that defines `abs` could change the tests' `abs`
            return [Trial("unparseable", NO_FUNCTION)]
        calls = plain_calls(tests, function)
    if calls:
        return trials.by_call(sandbox, program, calls, limits, operator.eq)
    return trials.by_replay(sandbox, program, split(tests, function), limits)


def _verdict(program: str, results: Sequence[Trial]) -> Verdict:
    if broken := [trial for trial in results if trial.status == "infra_error"]:
        return Verdict(0.0, program, broken[0].note, "infra_error")
    statuses = [trial.status for trial in results if trial.status != "passed"]
    if not statuses:
        return Verdict(1.0, program, f"all {len(results)} tests passed", "right")
    passed, total = len(results) - len(statuses), len(results)
    note = next(trial.note for trial in results if trial.status != "passed")
    status = "wrong" if statuses[0] == "failed" else statuses[0]
    return Verdict(passed / total, program, f"{passed} of {total} tests passed; {note}", status)


# --- forms of tests -------------------------------------------------------------------------------------------------


def _listed(tests: Any, function: str | None) -> tuple[list[Any], str | None]:
    """Return the tests as a list, and the function that they name.

    Accepts a list of tests, one program of assertions, and mappings with "inputs" and "outputs", "functional" or
    "test" as data sets have them.
    """
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
            'there are no tests: give a list of assertions, of {"input", "output"} or of {"args", "expected"}'
        )
    return list(tests), function


def mode_of(tests: Any, mode: Mode | None) -> Mode:
    """Return the mode, inferred from the tests if it is None. Raises TestsError if there are no tests."""
    return mode or _mode_of(_listed(tests, None)[0][0])


def _mode_of(test: Any) -> Mode:
    if isinstance(test, str):
        return "assert"
    if isinstance(test, Mapping):
        return "call" if test.get("call") or "args" in test else "stdin"
    return "call"


def _text_pair(test: Any) -> tuple[str, str]:
    if not isinstance(test, Mapping) or not {"input", "output"} <= test.keys():
        raise TestsError(f'the test {str(test)[:80]} must be {{"input", "output"}} in mode "stdin"')
    return _text(test["input"]), _text(test["output"])


def _text(value: Any) -> str:
    """Return one side of a stdin test as text; a list holds its lines."""
    if value is None:
        raise TestsError('an input or output is null: must be a text in mode "stdin"')
    try:
        parts = value if isinstance(value, list) else [value]
        return "\n".join(integers.write(part) if type(part) is int else str(part) for part in parts)
    except ValueError as error:
        raise TestsError(f"an input or output cannot be written: {error}") from error


def _call(function: str, test: Any) -> Call:
    """Parse a call test: {"args", "expected"}, {"input", "output"} or [args, expected]. None is a value like others.

    The arguments are a list, a mapping of keyword arguments, one value, or, as in LiveCodeBench, an "input" with one
    JSON text per line. "kwargs" may add keyword arguments to "args".
    """
    if isinstance(test, Mapping):
        args, expected = _value_of(test, ARGUMENTS), _value_of(test, RESULTS)
        if "args" not in test and isinstance(args, str):
            args = list(map(_json, args.splitlines()))
            expected = _json(expected) if isinstance(expected, str) else expected
    elif isinstance(test, Sequence) and not isinstance(test, str) and len(test) == 2:
        args, expected = test
    else:
        raise TestsError(f'the test {shown(test)} must be {{"args", "expected"}} or [args, expected] in mode "call"')
    kwargs = dict(test.get("kwargs") or {}) if isinstance(test, Mapping) else {}
    if isinstance(args, Mapping):
        return Call(function, (), {**args, **kwargs}, expected)
    return Call(function, tuple(args) if isinstance(args, (list, tuple)) else (args,), kwargs, expected)


def _value_of(test: Mapping[str, Any], keys: Sequence[str]) -> Any:
    for key in keys:
        if key in test:
            return test[key]
    names = " or ".join(map(repr, keys))
    raise TestsError(f"the test {shown(dict(test))} has no key {names}: null is a value, but must be written")


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_int=integers.read)
    except ValueError as error:
        raise TestsError(f"the arguments and the result of a call must be JSON: {error}") from error
