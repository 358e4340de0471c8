"""The registry of verifiers: for each, what it needs of a problem and how it judges a reply by that.

To add one: a function that reads the gold answer (KeyError, TypeError or ValueError when the problem lacks it), one
that judges, and a line in VERIFIERS. docs/verifiers.md lists the fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from r1kit.rewards import services
from r1kit.rewards.checks import choice, countdown, knights, names, reasoning_gym, text
from r1kit.rewards.checks import ifeval as instructions
from r1kit.rewards.checks import json_schema as schema
from r1kit.rewards.code import cruxeval
from r1kit.rewards.extract import rule_on
from r1kit.rewards.judge import accuracy as judge
from r1kit.rewards.math import check as math
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Ruling, Verdict
from r1kit.types import Problem

Gold = TypeVar("Gold")
_ABSENT = object()
LONGEST_GOLD = 20_000  # characters


@dataclass(frozen=True)
class Verifier(Generic[Gold]):
    read: Callable[[Problem], Gold]  # what the problem says is right
    judge: Callable[[Gold, Reply], Verdict]
    canonical: Callable[[str], str] = str.strip  # one text for equal answers: what a majority vote counts


def _by_answer(rule: Callable[[Gold, str], Ruling]) -> Callable[[Gold, Reply], Verdict]:
    """Judge the answer that a reply states; where it states several, every one must be right."""

    def judge(gold: Gold, reply: Reply) -> Verdict:
        answers = reply.answers
        if not answers:
            return reply.silent()
        ruling = rule_on(answers, lambda answer: rule(gold, answer))
        return Verdict(float(ruling.status == "right"), answers[-1], ruling.reason, ruling.status)

    return judge


def _by_focus(rule: Callable[[Gold, str], Ruling]) -> Callable[[Gold, Reply], Verdict]:
    """Judge all that a reply tells its reader, or what it boxes."""

    def judge(gold: Gold, reply: Reply) -> Verdict:
        if not (told := reply.focus):
            return reply.silent()
        ruling = rule(gold, told)
        return Verdict(float(ruling.status == "right"), told, ruling.reason, ruling.status)

    return judge


def _math(gold: str, reply: Reply) -> Verdict:
    if not reply.free:
        return _by_answer(math.check)(gold, reply)
    if reply.body is None:
        return reply.silent()
    ruling, extracted = math.check_prose(gold, reply.body if reply.parts.answer is None else reply.parts.summary)
    return Verdict(float(ruling.status == "right"), extracted, ruling.reason, ruling.status)


def _answer(problem: Problem) -> str:
    if not problem.answer.strip():
        raise ValueError("the gold answer is empty")
    return problem.answer


def _math_gold(problem: Problem) -> str:
    gold = _answer(problem)  # may be a whole solution that ends in a box, so only what is slow to compare is refused
    if len(gold) > LONGEST_GOLD or re.search(rf"\d{{{math.MOST_DIGITS + 1}}}", gold):
        raise ValueError(f"the gold answer has over {LONGEST_GOLD} characters or {math.MOST_DIGITS} digits in a row")
    return gold


def _countdown(problem: Problem) -> tuple[list[int], float]:
    given, target = problem.extra["numbers"], problem.extra["target"]
    if not given or not all(type(number) is int for number in given) or not isinstance(target, int | float):
        raise ValueError(f"numbers {given!r} and target {target!r} must be integers and a number")
    return list(given), target


def _choice(problem: Problem) -> tuple[int, Sequence[str]]:
    options = problem.extra["options"]
    if isinstance(options, Mapping):  # {"A": ..., "B": ...}
        options = [options[letter] for letter in sorted(options)]
    options = [str(option) for option in options]
    if not 2 <= len(options) <= 26:
        raise ValueError(f"{len(options)} options, 2 to 26 can be lettered")
    return choice.index_of(problem.extra.get("gold", problem.answer), options), options


def _golds(problem: Problem) -> list[str]:
    """One gold text, or several of which any will do."""
    several = problem.extra.get("answers")
    return [str(answer) for answer in several] if several else [_answer(problem)]


def _fuzzy(golds: Sequence[str], reply: Reply) -> Verdict:
    if not reply.answers:
        return reply.silent()
    share = max(0.0, min(text.likeness(golds, answer) for answer in reply.answers))
    status = "right" if share >= text.ALIKE else "wrong"
    return Verdict(share, reply.answers[-1], f"word F1 {share:.2f}, {text.ALIKE} is alike", status)


def _constraints(problem: Problem) -> Sequence[tuple[str, Mapping[str, Any]]]:
    pairs = instructions.pairs_of(problem.extra["constraints"], problem.extra.get("kwargs"))
    instructions.check_all("a", pairs)  # raises now what would be no fault of the reply
    return pairs


def _instructions(pairs: Sequence[tuple[str, Mapping[str, Any]]], reply: Reply) -> Verdict:
    """The share of constraints kept; right when all are."""
    if not reply.body:
        return reply.silent()
    if len(reply.body) > instructions.LONGEST:
        return Verdict(0.0, None, f"the reply has more than {instructions.LONGEST} characters", "over_limit")
    kept = instructions.check_all(reply.body, pairs)
    broken = [name for (name, _), keeps in zip(pairs, kept, strict=True) if not keeps]
    reason = f"broken: {', '.join(broken)}" if broken else f"all {len(pairs)} constraints kept"
    return Verdict(sum(kept) / len(kept), reply.body, reason, "wrong" if broken else "right")


def _schema(problem: Problem) -> tuple[Any, Any]:
    """(schema or True, gold value or _ABSENT). A schema that cannot be used raises here."""
    wanted = problem.extra.get("schema", True)
    schema.refute(wanted, None)
    return wanted, problem.extra.get("value", _ABSENT)


def _json(gold: tuple[Any, Any], reply: Reply) -> Verdict:
    if not (told := reply.focus):
        return reply.silent()
    try:
        found = schema.find_json(told)
        value = schema.parse(found)
    except schema.NotJson as error:
        return Verdict(0.0, told, str(error), "unparseable")
    fault = schema.refute(gold[0], value)
    if fault is None and gold[1] is not _ABSENT and not schema.same(gold[1], value):
        fault = "valid, but not the value asked for"
    return Verdict(float(fault is None), found, fault or "right", "wrong" if fault else "right")


def _code(problem: Problem) -> dict[str, Any]:
    given = problem.extra
    if given.get("language") not in (None, "python", "cpp"):
        raise ValueError(f"language {given['language']!r}: use python or cpp, or leave it to the response's fence")
    return {
        "tests": given["tests"],
        "mode": given.get("mode"),
        "function": given.get("function"),
        "problem": problem.question,
        "language": given.get("language"),
    }


def _run(gold: dict[str, Any], reply: Reply) -> Verdict:
    from r1kit.rewards import code

    language = gold["language"] or _language(gold, reply)
    sandbox = services.native_sandbox() if language == "cpp" else services.sandbox()
    return code.grade(reply.text, **{**gold, "language": language}, sandbox=sandbox, think_open=reply.think_open)


def _language(gold: dict[str, Any], reply: Reply) -> str:
    """The fence's, where the problem leaves it open: tests of what is read and printed suit any."""
    from r1kit.rewards import code

    marked = code.language_of(reply.text, reply.think_open)
    return marked if marked == "python" or code.mode_of(gold["tests"], gold["mode"]) == "stdin" else "python"


def _cruxeval(problem: Problem) -> dict[str, Any]:
    given = problem.extra
    predict, program = given.get("predict", "output"), given.get("program", "")
    if predict not in ("output", "input") or (predict == "input" and not program):
        raise ValueError('predict is "output", or "input" and then the program is needed')
    return {"predict": predict, "output": given.get("output") or _answer(problem), "program": program}


def _predict(gold: dict[str, Any], reply: Reply) -> Verdict:
    sandbox = services.sandbox() if gold["predict"] == "input" else None
    return cruxeval.grade(reply.text, **gold, sandbox=sandbox, think_open=reply.think_open)


def _gym_task(problem: Problem) -> dict[str, Any]:
    return {name: problem.extra[name] for name in ("family", "seed", "size", "index")} | {"question": problem.question}


def _gym(task: dict[str, Any], answer: str) -> Ruling:
    return reasoning_gym.check(services.native_sandbox(), task, answer)


def _ask_judge(gold: tuple[str, str], reply: Reply) -> Verdict:
    return judge.ask(services.judge(), *gold, reply.body) if reply.body else reply.silent()


VERIFIERS: dict[str, Verifier[Any]] = {
    "math": Verifier(_math_gold, _math, math.canonical),
    "countdown": Verifier(
        _countdown, _by_answer(lambda gold, answer: Ruling.of(countdown.refute(answer, *gold))), countdown.canonical
    ),
    "names": Verifier(_answer, _by_answer(lambda gold, answer: Ruling.of(names.refute(gold, answer))), names.canonical),
    "choice": Verifier(
        _choice, _by_answer(lambda gold, answer: Ruling.of(choice.refute(*gold, answer))), choice.canonical
    ),
    "knights": Verifier(
        lambda problem: knights.solution_of(
            problem.extra.get("solution", problem.answer),
            problem.extra.get("names") or knights.names_in(problem.question),
        ),
        _by_focus(lambda gold, told: Ruling.of(knights.refute(gold, told))),
        text.normalise,
    ),
    "ifeval": Verifier(_constraints, _instructions),
    "json": Verifier(_schema, _json),
    "told": Verifier(_golds, _by_focus(lambda golds, told: Ruling.of(text.refute(golds, told))), text.normalise),
    "exact": Verifier(_golds, _by_answer(lambda gold, answer: Ruling.of(text.refute(gold, answer))), text.normalise),
    "fuzzy": Verifier(_golds, _fuzzy, text.normalise),
    "code": Verifier(_code, _run),
    "cruxeval": Verifier(_cruxeval, _predict),
    "reasoning_gym": Verifier(_gym_task, _by_answer(_gym)),
    "judge": Verifier(lambda problem: (problem.question, _answer(problem)), _ask_judge),
}
