"""Scoring completions in a pool of grading processes, with a count of what came of them and how long it took."""

from __future__ import annotations

import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any, NamedTuple, Self

from r1kit.console import say
from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.math import check as math
from r1kit.rewards.score import RewardError, ScoreRequest, assess
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.processes import Lost, Pool
from r1kit.types import Problem, Score

PROGRAMS = {"code", "cruxeval"}  # verifiers that run programs
FOREIGN = {*PROGRAMS, "judge", "reasoning_gym"}  # or ask an endpoint, or run what others wrote
MOST_FAILED = 0.1  # the share of completions that may stay without a score
FEWEST_FAILED = 8  # failures below which a share says nothing


Scorer = Callable[[Sequence[ScoreRequest]], list[Score]]


def score_here(requests: Sequence[ScoreRequest]) -> list[Score]:
    """The scores of all requests, found in this process: for plain rules, which do not hang nor run what is foreign."""
    return [assess(request)[0] for request in requests]


def needs_processes(reward_names: Iterable[str], verifiers: Iterable[str]) -> bool:
    """Whether scoring by these runs code that is not r1kit's, or waits for somebody."""
    return any(":" in name for name in reward_names) or not FOREIGN.isdisjoint(verifiers)


def open_sandbox_for(problems: Iterable[Problem]) -> None:
    """Where grading these may need the sandbox: have it built and tried before the first step, and say which it is.

    UserError when programs are to be run and no tier works. Without programs, only what sympy must compare is lost.
    """
    problems = list(problems)
    if any(problem.verifier == "reasoning_gym" for problem in problems):
        say(f"sandbox of reasoning-gym's checks: {services.native_sandbox().name}")
    programs = any(problem.verifier in PROGRAMS for problem in problems)
    if not programs and all(problem.verifier != "math" or math.is_number(problem.answer) for problem in problems):
        return
    say("opening the sandbox before the first answer; where it is new, it is built first")
    try:
        tier = services.open_early()
    except UserError as error:
        if programs:
            raise
        say(f"warning: {error}. Answers that only algebra can compare will not be graded, and count nowhere")
        return
    kept = (
        "programs are NOT contained" if tier == "none" else f"tier {tier}, which has just contained every test attack"
    )
    say(f"sandbox: {kept}")


class Ticket(NamedTuple):
    """A completion on its way through the pool."""

    verifier: str
    answer: Future[Any]


class RewardPool:
    """Completions in, scores out, in processes that leave the learner's cores alone.

    A completion that cannot be scored (a reward that raises or returns no number, a sandbox that breaks, a process that
    dies twice or hangs) gets a masked score; beyond a tenth of all, RewardError with the first cause.
    """

    def __init__(self, workers: int, *, settings: Settings | None = None) -> None:
        self._pool = Pool("r1kit.rewards.workers.pool:answer", workers, settings=settings)
        self._begun: defaultdict[tuple[Hashable, ...], list[Ticket]] = defaultdict(list)  # by what was asked
        self._outcomes: Counter[tuple[str, str]] = Counter()  # (verifier, status) -> completions
        self._seconds: Counter[str] = Counter()  # verifier -> seconds of work
        self._used: Counter[str] = Counter()  # of the judge: requests, tokens, cost
        self._graded = self._failed = 0
        self._first_failure = ""

    def submit(self, request: ScoreRequest) -> Ticket:
        return Ticket(request.problem.verifier, self._pool.submit(asdict(request)))

    def begin(self, request: ScoreRequest) -> None:
        """Have it scored from now on, beside other work: `score_many` of the same then only waits for it."""
        self._begun[_key(request)].append(self.submit(request))

    def result(self, ticket: Ticket) -> Score:
        """Wait for one score. RewardError when too large a share of all so far could not be scored."""
        try:
            found = ticket.answer.result()
        except Lost as error:
            found = {"status": "infra_error", "seconds": 0.0, "failure": str(error)}
        self._outcomes[ticket.verifier, found["status"]] += 1
        self._seconds[ticket.verifier] += found["seconds"]
        self._used.update(found.get("usage", {}))
        self._graded += 1
        if (failure := found.get("failure")) is not None:
            self._failed += 1
            self._first_failure = self._first_failure or failure
            if self._failed >= FEWEST_FAILED and self._failed > MOST_FAILED * self._graded:
                raise RewardError(
                    f"{self._failed} of {self._graded} completions could not be scored, so training would go on by "
                    f"chance; the first time it was:\n{self._first_failure}"
                )
        return Score(**found["score"]) if "score" in found else Score(0.0, {}, None, failure.splitlines()[-1], True)

    def score_many(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """The scores of all requests, in their order."""
        tickets = [self._take_begun(request) or self.submit(request) for request in requests]
        return [self.result(ticket) for ticket in tickets]

    def _take_begun(self, request: ScoreRequest) -> Ticket | None:
        key = _key(request)
        if key not in self._begun:
            return None
        ticket = self._begun[key].pop()
        if not self._begun[key]:
            del self._begun[key]
        return ticket

    def take_report(self) -> dict[str, float]:
        """Counts and seconds by kind since the last report, as metrics: grading/math/right, time/grading/math.

        What is under time/ may differ from run to run: seconds, processes that died, what was asked of a judge.
        """
        report = {f"grading/{verifier}/{status}": float(n) for (verifier, status), n in sorted(self._outcomes.items())}
        report |= {f"time/grading/{verifier}": spent for verifier, spent in sorted(self._seconds.items())}
        report |= {f"time/judge/{name}": float(amount) for name, amount in sorted(self._used.items())}
        report["time/grading/failed"], report["time/grading/restarts"] = float(self._failed), float(self._pool.restarts)
        self._outcomes.clear()
        self._seconds.clear()
        self._used.clear()
        return report

    def close(self) -> None:
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._pool.__exit__(*error)


def _key(request: ScoreRequest) -> tuple[Hashable, ...]:
    weights = tuple(request.weights.items())
    return request.problem.id, request.text, weights, request.think_open, request.answer_tags, request.truncated


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What a grading process does with one request."""
    start = time.perf_counter()
    try:
        score, verdict = assess(ScoreRequest(**{**request, "problem": Problem(**request["problem"])}))
    except RewardError as error:
        trace = "".join(traceback.format_exception(error.__cause__ or error))
        return {"status": "infra_error", "seconds": time.perf_counter() - start, "failure": f"{trace}{error}"}
    found = {"status": verdict.status if verdict else "scored", "seconds": time.perf_counter() - start}
    failure = {"failure": score.reason} if score.masked else {}
    return {**found, **failure, "usage": services.take_usage(), "score": asdict(score)}
