"""`r1kit grade`: a file of answers in, one verdict a line out. Lines that cannot be graded say why; none is dropped.

This sits beside `measure`: it needs the rewards and nothing above them, and a grading process imports it by name.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from math import isfinite
from typing import Any, BinaryIO

from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.checks import json_schema as schema
from r1kit.rewards.checks.countdown import numbers_and_target
from r1kit.rewards.checks.format import is_well_formed
from r1kit.rewards.checks.knights import names_in
from r1kit.rewards.code.program import extract
from r1kit.rewards.language.identify import code_of, consistency
from r1kit.rewards.reply import Reply
from r1kit.rewards.score import RewardError, grade
from r1kit.rewards.services import Settings
from r1kit.rewards.verdict import Verdict
from r1kit.rewards.workers.processes import Lost, Pool
from r1kit.types import Problem

LONGEST_LINE = 16 << 20  # bytes
LONGEST_SHOWN = 4_000  # characters of an extracted answer or a reason
AHEAD = 32  # lines a process is handed before the first of them is back
ONE_LANGUAGE = 0.9  # the share of words in the target language from which a text counts as being in it


class Ungradable(ValueError):
    """A line that is no request, or one that lacks something."""


def grade_stream(source: BinaryIO, sink: BinaryIO, workers: int, settings: Settings | None = None) -> Counter[str]:
    """Grade every line of `source` to `sink`, in order and in constant memory. Counts of right, wrong and ungraded."""
    counts: Counter[str] = Counter()
    waiting: deque[Future[Any]] = deque()

    def write_first() -> None:
        try:
            verdict = waiting.popleft().result()
        except Lost as error:
            verdict = _ungraded(str(error), 0.0)
        counts[{True: "right", False: "wrong", None: "not graded"}[verdict["correct"]]] += 1
        text = json.dumps(verdict, ensure_ascii=False, allow_nan=False)
        sink.write(text.encode(errors="backslashreplace") + b"\n")  # half a surrogate pair, as JSON escapes it

    with Pool("r1kit.rewards.grade_file:grade_line", workers, settings=settings) as pool:
        for line in _lines(source):
            waiting.append(pool.submit(line))
            if len(waiting) >= AHEAD * workers:
                write_first()
        while waiting:
            write_first()
    sink.flush()
    return counts


def grade_line(line: str) -> dict[str, Any]:
    """The verdict on one line of JSON. Never raises on account of what the line holds."""
    start = time.perf_counter()
    try:
        row = _row(line)
        _load(str(row.get("kind")))
        start = time.perf_counter()
        verdict = verdict_of(row)
    except (Ungradable, RewardError) as error:
        return _ungraded(str(error), time.perf_counter() - start)
    if verdict.masked:
        return _ungraded(verdict.reason, time.perf_counter() - start)
    return {
        "score": verdict.value,
        "correct": verdict.status == "right",
        "extracted": None if verdict.extracted is None else _short(verdict.extracted),
        "reason": _short(verdict.reason),
        "ms": round((time.perf_counter() - start) * 1000, 3),
    }


@lru_cache
def _load(kind: str) -> None:
    """Open what a kind needs, once, so that no line pays for it in its time."""
    if kind in ("language", "ifeval"):
        consistency("all of this is in one language", "en")
    if kind == "json":
        schema.refute(True, None)
    if kind in ("code", "cruxeval"):
        with suppress(UserError):  # the line itself will say so
            services.sandbox()


def verdict_of(row: Mapping[str, Any]) -> Verdict:
    """What one request comes to. Ungradable says what it lacks."""
    kind, response = row.get("kind"), row.get("response")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Ungradable(f"unknown kind {kind!r}: use one of {', '.join(KINDS)}")
    if not isinstance(response, str):
        raise Ungradable(f"response must be a text, this one is {type(response).__name__}")
    return KINDS[kind](row, response)


def _lines(source: BinaryIO) -> Iterator[str]:
    """Line by line without its end; an overlong one is cut, so that it is no longer JSON. Broken UTF-8 stays broken."""
    while line := source.readline(LONGEST_LINE):
        rest = line
        while not rest.endswith(b"\n") and (rest := source.readline(LONGEST_LINE)):
            line = line[:LONGEST_SHOWN] if len(line) == LONGEST_LINE else line
        yield line.rstrip(b"\r\n").decode("utf-8", errors="surrogateescape")


def _row(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line.encode("utf-8", errors="surrogateescape").decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Ungradable(f"not one line of JSON in UTF-8: {type(error).__name__}: {error}") from None
    if not isinstance(row, dict):
        raise Ungradable(f"the line must hold a JSON object, this one is a {type(row).__name__}")
    return row


def _ungraded(reason: str, seconds: float) -> dict[str, Any]:
    return {"score": None, "correct": None, "extracted": None, "reason": _short(reason), "ms": round(seconds * 1000, 3)}


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


# -- from the fields of a line to what a verifier reads ------------------------------------------------------------


def _by_verifier(verifier: str, extra: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[..., Verdict]:
    def judge(row: Mapping[str, Any], response: str) -> Verdict:
        gold, question = row.get("gold"), row.get("problem", row.get("prompt"))
        try:
            given = {key: value for key, value in extra(row).items() if value is not None}
        except (KeyError, TypeError, ValueError) as error:
            raise Ungradable(f"kind {verifier}: {error}") from error
        if isinstance(gold, float) and not isfinite(gold):
            raise Ungradable(f"kind {verifier}: gold is {gold}, which is no answer")
        problem = Problem(
            id="of this line",
            question=question if isinstance(question, str) else "",
            answer=str(gold) if isinstance(gold, str | int | float) and not isinstance(gold, bool) else "",
            verifier=verifier,
            extra=given,
        )
        return grade(problem, response, free=True)

    return judge


def _some(*names: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda row: {name: row.get(name) for name in names}


def _knights(row: Mapping[str, Any]) -> dict[str, Any]:
    question = row.get("problem")
    return {
        "solution": row.get("gold"),
        "names": row.get("names") or (names_in(question) if isinstance(question, str) else None),
    }


def _ifeval(row: Mapping[str, Any]) -> dict[str, Any]:
    constraints = row.get("constraints") or row.get("instruction_id_list") or row.get("gold")
    return {"constraints": constraints, "kwargs": row.get("kwargs")}


def _json(row: Mapping[str, Any]) -> dict[str, Any]:
    """The schema under `constraints`; `gold` is the value to equal, or the schema where there are no constraints."""
    problem = row.get("problem")
    told = problem.get("schema") if isinstance(problem, Mapping) else None
    schema, gold = row.get("constraints", row.get("schema", told)), row.get("gold")
    if isinstance(gold, str):
        try:
            gold = json.loads(gold)
        except ValueError as error:
            raise ValueError(f"gold is no JSON: {error}") from error
    if schema is None and isinstance(gold, Mapping) and SCHEMA_WORDS & gold.keys():
        schema, gold = gold, None
    return {"schema": schema, "value": gold}


SCHEMA_WORDS = {
    "$schema",
    "$ref",
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "const",
    "anyOf",
    "allOf",
    "oneOf",
}


def _cruxeval(row: Mapping[str, Any]) -> dict[str, Any]:
    """The output under `gold`, as a literal or a JSON value; to predict an input, the program too, or in `problem`."""
    gold, problem = row.get("gold"), row.get("problem")
    row = {**row, **gold} if isinstance(gold, Mapping) and {"code", "output"} <= gold.keys() else row
    output = row["output"] if "output" in row else row["gold"]
    program = row.get("program") or row.get("code") or (extract(problem) if isinstance(problem, str) else None)
    predict = row.get("predict") or row.get("mode")
    return {"predict": predict, "output": output if isinstance(output, str) else repr(output), "program": program}


def _text(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"answers": row["gold"]} if isinstance(row.get("gold"), list) else {}


def _format(row: Mapping[str, Any], response: str) -> Verdict:
    flags = {"think_open": row.get("think_open") is True, "answer_tags": row.get("answer_tags") is True}
    good = is_well_formed(response, **flags)
    return Verdict(
        float(good),
        None,
        "well formed" if good else "not thinking in tags, then an answer",
        "right" if good else "wrong",
    )


def _language(row: Mapping[str, Any], response: str) -> Verdict:
    wanted = row.get("gold") or row.get("language")
    if not isinstance(wanted, str):
        raise Ungradable("kind language: gold must name the language, such as en or Chinese")
    try:
        code = code_of(wanted)
    except ValueError as error:
        raise Ungradable(str(error)) from error
    text = Reply(response).thinking.strip()
    if not text:
        return Verdict(0.0, None, "there is no text to tell the language of", "unparseable")
    share = consistency(text, code)
    reason = f"{share:.1%} of the words are {code}, {ONE_LANGUAGE:.0%} count as one language"
    return Verdict(share, code, reason, "right" if share >= ONE_LANGUAGE else "wrong")


KINDS: dict[str, Callable[[Mapping[str, Any], str], Verdict]] = {
    "math": _by_verifier("math", _some()),
    "code": _by_verifier(
        "code",
        lambda row: {
            "mode": row.get("mode"),
            "function": row.get("function") or row.get("entry_point"),
            "tests": row.get("tests", row.get("gold")),
            "language": row.get("language"),
        },
    ),
    "cruxeval": _by_verifier("cruxeval", _cruxeval),
    "choice": _by_verifier("choice", _some("options", "gold")),
    "countdown": _by_verifier("countdown", numbers_and_target),
    "knights": _by_verifier("knights", _knights),
    "ifeval": _by_verifier("ifeval", _ifeval),
    "json": _by_verifier("json", _json),
    "exact": _by_verifier("exact", _text),
    "fuzzy": _by_verifier("fuzzy", _text),
    "names": _by_verifier("names", _some()),
    "judge": _by_verifier("judge", _some()),
    "format": _format,
    "language": _language,
}
