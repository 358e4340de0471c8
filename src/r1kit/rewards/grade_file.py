"""`r1kit grade`: grade a file of responses, one verdict per line. A line that cannot be graded says why.

Worker processes import this module by name.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from functools import lru_cache
from math import isfinite
from typing import Any, BinaryIO, TypedDict

from r1kit import integers
from r1kit.console import heartbeat
from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.checks.base import Reward, Row, Verifier
from r1kit.rewards.score import BUILT_IN, RewardError, grade
from r1kit.rewards.services import Settings
from r1kit.rewards.verdict import Verdict
from r1kit.rewards.verifiers import VERIFIERS
from r1kit.rewards.workers.processes import Lost, Pool
from r1kit.synonyms import nearest
from r1kit.types import Problem

MAX_LINE_BYTES = 16 << 20
MAX_SHOWN = 4_000  # characters of an extracted answer or a reason
LINES_PER_WORKER = 32  # in flight, so that workers do not wait for input


class Ungradable(ValueError):
    """A line is not a valid request, or lacks a field."""


class GradedLine(TypedDict):
    """The verdict on one line, as `r1kit grade` prints it."""

    score: float | None  # 0 to 1; None when the line could not be graded
    correct: bool | None
    extracted: str | None  # the answer that was judged
    reason: str
    ms: float


def grade_stream(source: BinaryIO, sink: BinaryIO, workers: int, settings: Settings | None = None) -> Counter[str]:
    """Grade every line of `source` to `sink`, in order and in constant memory.

    A blank line is not graded, so that verdict N is that of line N; blank lines at the end have no verdict.

    Returns:
        The number of lines that are "right", "wrong" and "not graded".
    """
    counts: Counter[str] = Counter()
    pending: deque[Future[GradedLine]] = deque()

    def write_first() -> None:
        first = pending.popleft()
        try:
            with nullcontext() if first.done() else heartbeat(lambda: f"grading: {pool.waiting_for()}"):
                verdict = first.result()
        except Lost as error:
            verdict = _ungraded(str(error), 0.0)
        counts[{True: "right", False: "wrong", None: "not graded"}[verdict["correct"]]] += 1
        text = json.dumps(verdict, ensure_ascii=False, allow_nan=False)
        sink.write(text.encode(errors="backslashreplace") + b"\n")  # lone surrogates are written as JSON escapes

    pool: Pool[GradedLine] = Pool(
        "r1kit.rewards.grade_file:grade_line", workers, settings=settings, when_lost="its line is not graded"
    )
    with pool:
        for number, line in _without_last_blanks(_lines(source)):
            pending.append(pool.submit(line, f"line {number}", "grading"))
            if len(pending) >= LINES_PER_WORKER * workers:
                write_first()
        while pending:
            write_first()
    sink.flush()
    return counts


def grade_line(line: str) -> GradedLine:
    """Return the verdict on one line of JSON. Never raises because of its contents."""
    start = _clock()
    try:
        row = _parse(line)
        _warm_up(str(row.get("kind")))
        start = _clock()
        verdict = grade_row(row)
    except (Ungradable, RewardError) as error:
        return _ungraded(str(error), _clock() - start)
    if verdict.masked:
        return _ungraded(verdict.reason, _clock() - start)
    return {
        "score": verdict.value,
        "correct": verdict.status == "right",
        "extracted": None if verdict.extracted is None else _shorten(verdict.extracted),
        "reason": _shorten(verdict.reason),
        "ms": round((_clock() - start) * 1000, 3),
    }


def _clock() -> float:
    """Return seconds, without those that were spent on opening the sandbox."""
    return time.perf_counter() - services.seconds_opening()


def grade_row(row: Row) -> Verdict:
    """Return the verdict on one request. Ungradable says what is missing."""
    kind, response = row.get("kind"), row.get("response")
    if not isinstance(kind, str) or kind not in KINDS:
        close = nearest(kind, KINDS) if isinstance(kind, str) else None
        hint = f"did you mean {close}? " if close else ""
        fault = f"unknown kind {kind!r}" if "kind" in row else "the field 'kind' is missing"
        raise Ungradable(f"{fault}: {hint}Use one of {', '.join(KINDS)}")
    if "response" not in row:
        raise Ungradable("the field 'response' is missing")
    if not isinstance(response, str):
        raise Ungradable(f"response is of type {type(response).__name__}: must be a string")
    try:
        if (reward := BUILT_IN.get(kind)) and reward.from_row:
            return reward.judge(reward.from_row(row, response))
        problem = _problem(kind, row)
    except (KeyError, TypeError, ValueError) as error:
        fault = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise Ungradable(f"kind {kind}: {fault}") from error
    return grade(problem, response, free_form=True)


KINDS: dict[str, Verifier[Any] | Reward] = {
    **VERIFIERS,
    **{name: reward for name, reward in BUILT_IN.items() if reward.from_row is not None},
}


def _problem(verifier: str, row: Row) -> Problem:
    gold, question = row.get("gold"), row.get("problem", row.get("prompt"))
    extra = {key: value for key, value in VERIFIERS[verifier].from_row(row).items() if value is not None}
    if isinstance(gold, float) and not isfinite(gold):
        raise ValueError(f"gold = {gold}: must be finite")
    return Problem(
        id="of this line",
        question=question if isinstance(question, str) else "",
        answer=str(gold) if isinstance(gold, str | int | float) and not isinstance(gold, bool) else "",
        verifier=verifier,
        extra=extra,
    )


@lru_cache
def _warm_up(kind: str) -> None:
    """Load what a kind needs, once, so that no line includes it in its time."""
    opens: dict[str | None, Callable[[], object]] = {
        "sandbox": services.sandbox,
        "native sandbox": services.native_sandbox,
    }
    service = VERIFIERS[kind].service if kind in VERIFIERS else None
    with suppress(UserError):  # grading the line reports the error
        if kind in KINDS:
            KINDS[kind].warm_up()
        if service in opens:
            opens[service]()


def _lines(source: BinaryIO) -> Iterator[str]:
    """Yield lines without their ends. An overlong line is cut, which makes it invalid JSON; bad UTF-8 is kept."""
    while line := source.readline(MAX_LINE_BYTES):
        rest = line
        while not rest.endswith(b"\n") and (rest := source.readline(MAX_LINE_BYTES)):
            line = line[:MAX_SHOWN] if len(line) == MAX_LINE_BYTES else line
        yield line.rstrip(b"\r\n").decode("utf-8", errors="surrogateescape")


def _without_last_blanks(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers, without the blank ones at the end."""
    blank = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            blank += 1
            continue
        yield from ((number - each, "") for each in range(blank, 0, -1))
        blank = 0
        yield number, line


def _parse(line: str) -> Row:
    if not line:
        raise Ungradable("a blank line: must be a JSON object")
    try:
        text = line.encode("utf-8", errors="surrogateescape").decode("utf-8-sig")
        row = json.loads(text, parse_int=integers.read)
    except (ValueError, RecursionError) as error:
        raise Ungradable(f"not a line of JSON in UTF-8: {type(error).__name__}: {error}") from None
    if not isinstance(row, Mapping):
        raise Ungradable(f"the line holds JSON of type {type(row).__name__}: must be an object")
    return row


def _ungraded(reason: str, seconds: float) -> GradedLine:
    ms = round(seconds * 1000, 3)
    return {"score": None, "correct": None, "extracted": None, "reason": _shorten(reason), "ms": ms}


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
