"""What the judges of benchmarks share: a record for each, and asking in two rounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from r1kit.console import progress
from r1kit.rewards.judge.answer import Answer
from r1kit.rewards.judge.endpoint import EndpointError
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem

if TYPE_CHECKING:
    from r1kit.rewards.judge.client import Client

Messages = list[dict[str, str]]
Grades = Sequence[str | None]  # of the games of one answer; None for what could not be read
Row = Mapping[str, Any]  # of samples.jsonl

NO_REPLY = "the judge did not answer"
UNPARSED = "unparsed"  # stands in a reason for the grade of a game that could not be read twice


@dataclass(frozen=True)
class Judge:
    """How a language model judges the answers to one benchmark."""

    wording: str
    """Prompt before it is filled in. Results carry its hash."""
    games: Callable[[Problem, str], list[Messages]]
    """Return the conversations that judge one answer; several where the order of two answers is swapped."""
    read: Callable[[Answer], str | None]
    """Return the grade in a reply of the judge; None if there is none."""
    rule: Callable[[Problem, str, Grades], Verdict]
    """Return the verdict on an answer from the grades of its games. The reason begins with the grades."""
    numbers: Callable[[Sequence[Row]], dict[str, float]]
    """Return the benchmark's own metrics from the rows of its samples."""
    lost: str
    """Grades of an answer that does not exist, because the completion was cut off; it is not asked about."""
    paper: str = ""
    """The paper's judge; "" if it is not named."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the first request; the temperature is 0."""
    again: Mapping[str, Any] = field(default_factory=lambda: {"seed": 1})
    """Parameters of the second request, for grades that could not be read."""
    may_fall_back: bool = False
    """Whether the second request can succeed where the endpoint refuses the first."""

    @property
    def prompt_hash(self) -> str:
        """Hash of the prompt."""
        return hashlib.sha256(self.wording.encode()).hexdigest()[:12]


def ask(client: Client, judge: Judge, cases: Sequence[tuple[Problem, str]]) -> list[Verdict]:
    """Return the verdicts on answers. What cannot be read is asked a second time, then it is unparsed.

    Args:
        client: The judge's endpoint. Its cache is keyed by URL, model and request, so no two judges share an entry.
        judge: The benchmark's way of judging.
        cases: Problems, each with an answer.
    """
    games = [
        (case, messages) for case, (problem, answer) in enumerate(cases) for messages in judge.games(problem, answer)
    ]
    grades = _ask_once(client, judge, judge.parameters, [messages for _, messages in games])
    open_games = [
        i
        for i, grade in enumerate(grades)
        if grade is None or (judge.may_fall_back and isinstance(grade, EndpointError))
    ]
    again = _ask_once(client, judge, judge.again, [games[i][1] for i in open_games])
    for i, grade in zip(open_games, again, strict=True):
        grades[i] = grade
    by_case: list[list[str | EndpointError | None]] = [[] for _ in cases]
    for (case, _), grade in zip(games, grades, strict=True):
        by_case[case].append(grade)
    return [_verdict(judge, *case, each) for case, each in zip(cases, by_case, strict=True)]


def _ask_once(
    client: Client, judge: Judge, parameters: Mapping[str, Any], games: Sequence[Messages]
) -> list[str | EndpointError | None]:
    """Return the grade of each game; None if it could not be read, an error without a reply."""
    grades: list[str | EndpointError | None] = [None] * len(games)
    if not games:
        return grades
    with progress(f"judging with {client.endpoint.model}", len(games)) as bar:

        def keep(index: int, answer: Answer | EndpointError) -> None:
            grades[index] = judge.read(answer) if isinstance(answer, Answer) else answer
            bar.advance(1)

        client.complete_all([{"messages": each, "temperature": 0, **parameters} for each in games], keep)
    return grades


def _verdict(judge: Judge, problem: Problem, answer: str, grades: Sequence[str | EndpointError | None]) -> Verdict:
    for grade in grades:
        if isinstance(grade, EndpointError):
            return Verdict(0.0, answer, f"{NO_REPLY}: {grade}", "infra_error")
    return judge.rule(problem, answer, [grade for grade in grades if not isinstance(grade, EndpointError)])


def after_thinking(text: str) -> str:
    """Return what a judge says after its thinking."""
    return text.rpartition("</think>")[2].strip()


def grades_of(row: Row) -> list[str]:
    """Return the grades at the beginning of a row's reason."""
    return str(row["reason"]).partition(";")[0].split()


def share(rows: Sequence[Row], grade: str) -> float:
    """Return the share of rows whose first grade is this one."""
    return sum(grades_of(row)[:1] == [grade] for row in rows) / len(rows)
