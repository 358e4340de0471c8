"""Score completions in a pool of worker processes, and count verdicts and time per verifier."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import r1kit
from r1kit.console import heartbeat, say, warn
from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.checks.base import ScoreRequest
from r1kit.rewards.custom import label
from r1kit.rewards.score import ACCURACY, RewardError, score_with_verdict
from r1kit.rewards.services import Settings
from r1kit.rewards.verifiers import VERIFIERS
from r1kit.rewards.workers.outcomes import MAX_FAILED, MIN_FAILURES, Outcomes, Reply
from r1kit.rewards.workers.processes import Lost, Pool
from r1kit.types import Problem, Score

PACKAGE = str(Path(r1kit.__file__).parent)

Scorer = Callable[[Sequence[ScoreRequest]], list[Score]]


def score_here(requests: Sequence[ScoreRequest]) -> list[Score]:
    """Score in this process. Suits plain rules only, which neither hang nor run foreign code."""
    return [score_with_verdict(request)[0] for request in requests]


def needs_processes(reward_names: Iterable[str], verifiers: Iterable[str]) -> bool:
    """Return whether scoring runs foreign code or waits for an endpoint."""
    return any(":" in name for name in reward_names) or any(map(_service_of, verifiers))


def _service_of(verifier: str) -> str | None:
    return VERIFIERS[verifier].service if verifier in VERIFIERS else None  # `grade` reports unknown names


def open_sandbox_for(problems: Iterable[Problem]) -> None:
    """Build and test the sandbox before the first step if grading these problems may need it, and log its tier.

    Without programs to run, a missing sandbox is only a warning: then just the answers that sympy has to compare
    stay ungraded.

    Raises:
        UserError: Programs have to run and no tier works on this machine.
    """
    problems = list(problems)
    used = {_service_of(problem.verifier) for problem in problems}
    if "native sandbox" in used:
        say(f"sandbox for reasoning-gym's checks: {services.native_sandbox().name}")
    programs = "sandbox" in used
    if not programs and not any(_may_use_sandbox(problem) for problem in problems):
        return
    say("opening the sandbox; the first time on a machine, this builds it")
    try:
        with heartbeat("opening the sandbox"):
            tier = services.open_early()
    except UserError as error:
        if programs:
            raise
        warn(f"{error}. Answers that only sympy can compare will be masked")
        return
    state = "programs are NOT contained" if tier == "none" else f"tier {tier}, which just contained every test attack"
    say(f"sandbox: {state}")


def require_judge(problems: Iterable[Problem]) -> None:
    """Raise UserError if one of these problems needs a judge and this process has none."""
    needing = next((problem for problem in problems if _service_of(problem.verifier) == "judge"), None)
    if needing is not None and services.settings().judge is None:
        raise UserError(f"problem {needing.id}: {services.NO_JUDGE}")


def _may_use_sandbox(problem: Problem) -> bool:
    return problem.verifier in VERIFIERS and VERIFIERS[problem.verifier].may_use_sandbox(problem)


class Ticket(NamedTuple):
    """A completion that is being scored."""

    verifier: str
    reply: Future[Reply]


class RewardPool:
    """Score completions in worker processes, which leave the learner's cores alone.

    A completion that cannot be scored (a reward raises or returns no number, the sandbox fails, a process dies twice
    or hangs) gets a masked score. If that happens to more than a tenth of all, RewardError reports the first cause;
    if nothing can be scored, as soon as that is clear.
    """

    def __init__(self, workers: int, *, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._pool = self._open(workers)
        # Each process waits for one answer of the judge; all together have as many requests in flight as it may have.
        self._judging = self._open(self._settings.judge.max_concurrent) if self._settings.judge else None
        self._lock = threading.Lock()  # of the counts below
        self._started: defaultdict[tuple[Hashable, ...], list[Ticket]] = defaultdict(list)  # by request
        self._statuses: Counter[tuple[str, str]] = Counter()  # (verifier, status) -> completions
        self._seconds: defaultdict[str, float] = defaultdict(float)  # verifier -> seconds of work
        self._judge_usage: defaultdict[str, float] = defaultdict(float)  # requests, tokens, cost
        self._graded = self._failed = 0
        self._outcomes = Outcomes()

    def _open(self, workers: int) -> Pool[Reply]:
        """Return processes that score completions. They start when there is work for them."""
        lost = "its completion is masked (see reward_timeout)"
        return Pool("r1kit.rewards.workers.pool:answer", workers, settings=self._settings, when_lost=lost)

    @property
    def _pools(self) -> list[Pool[Reply]]:
        return [self._pool, *([self._judging] if self._judging else [])]

    def submit(self, request: ScoreRequest) -> Ticket:
        """Start scoring in the background. UserError when the problem needs a judge and there is none."""
        verifier = request.problem.verifier
        asks_judge = ACCURACY in request.weights and _service_of(verifier) == "judge"
        if self._judging is None and _service_of(verifier) == "judge":
            raise UserError(f"problem {request.problem.id}: {services.NO_JUDGE}")
        self._stop_if_hopeless()
        purpose = f"verifier {verifier}" if ACCURACY in request.weights else "grading"
        pool = self._judging if self._judging and asks_judge else self._pool
        reply = pool.submit(asdict(request), label(request.problem), purpose)
        reply.add_done_callback(self._note_outcome)
        return Ticket(verifier, reply)

    def begin(self, request: ScoreRequest) -> None:
        """Start scoring in the background; `score_many` with an equal request collects the result."""
        self._started[_key(request)].append(self.submit(request))

    def result(self, ticket: Ticket) -> Score:
        """Wait for one score. RewardError when too large a share of all completions could not be scored."""
        try:
            reply = ticket.reply.result()
        except Lost as error:
            reply = {"status": "infra_error", "seconds": 0.0, "failure": str(error)}
        self._stop_if_hopeless()
        with self._lock:
            self._statuses[ticket.verifier, reply["status"]] += 1
            self._seconds[ticket.verifier] += reply["seconds"]
            for name, amount in reply.get("usage", {}).items():
                self._judge_usage[name] += amount
            self._graded += 1
            if "failure" in reply:
                self._failed += 1
                if self._failed >= MIN_FAILURES and self._failed > MAX_FAILED * self._graded:
                    raise self._outcomes.error(self._failed, self._graded)
        if "score" in reply:
            return Score(**reply["score"])
        return Score(0.0, {}, None, reply["failure"].splitlines()[-1], True)

    def _note_outcome(self, reply: Future[Reply]) -> None:
        """Report the first failure at once, and lose all other requests when nothing can be scored."""
        if self._outcomes.add(reply):
            for pool in self._pools:
                pool.abort()

    def _stop_if_hopeless(self) -> None:
        if self._outcomes.hopeless:
            raise self._outcomes.error(self._outcomes.failed, self._outcomes.failed)

    def waiting_for(self) -> str:
        """Return what the oldest request in a process does, for how long, and what will happen to it."""
        return "grading: " + "; ".join(pool.waiting_for() for pool in self._pools)

    def score_many(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Return the scores of all requests, in their order. Several threads may call it."""
        tickets = [self._take_started(request) or self.submit(request) for request in requests]
        with heartbeat(self.waiting_for):
            return [self.result(ticket) for ticket in tickets]

    def _take_started(self, request: ScoreRequest) -> Ticket | None:
        key = _key(request)
        with self._lock:
            if key not in self._started:
                return None
            ticket = self._started[key].pop()
            if not self._started[key]:
                del self._started[key]
            return ticket

    def take_report(self) -> dict[str, float]:
        """Return metrics since the last report, such as grading/math/right and time/grading/math.

        Metrics under time/ may differ between equal runs: seconds, processes that died, requests to the judge.
        """
        report = {f"grading/{verifier}/{status}": float(n) for (verifier, status), n in sorted(self._statuses.items())}
        report |= {f"time/grading/{verifier}": spent for verifier, spent in sorted(self._seconds.items())}
        report |= {f"time/judge/{name}": float(amount) for name, amount in sorted(self._judge_usage.items())}
        restarts = sum(pool.restarts for pool in self._pools)
        report["time/grading/failed"], report["time/grading/restarts"] = float(self._failed), float(restarts)
        self._statuses.clear()
        self._seconds.clear()
        self._judge_usage.clear()
        return report

    def close(self) -> None:
        """Finish the submitted requests and end the processes."""
        for pool in self._pools:
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools:
            pool.__exit__(kind, error, trace)


def _key(request: ScoreRequest) -> tuple[Hashable, ...]:
    others = (getattr(request, each.name) for each in fields(request) if each.name not in ("problem", "weights"))
    return request.problem.id, tuple(request.weights.items()), *others


def _explain(error: RewardError) -> str:
    """Return the places in the code of a reward where it failed, then the message. r1kit's own code is left out."""
    trace = traceback.extract_tb(error.__cause__.__traceback__) if error.__cause__ is not None else []
    places = [f"{at.filename}, line {at.lineno}: {at.line}" for at in trace if not at.filename.startswith(PACKAGE)]
    return "\n".join([*places, str(error)])


def answer(request: Mapping[str, Any]) -> Reply:
    """Score one request; called in the worker processes."""
    start = time.perf_counter() - services.seconds_opening()

    def seconds() -> float:
        """Return the time since the start, without that for opening a sandbox."""
        return time.perf_counter() - services.seconds_opening() - start

    try:
        score, verdict = score_with_verdict(ScoreRequest(**{**request, "problem": Problem(**request["problem"])}))
    except RewardError as error:
        return {"status": "infra_error", "seconds": seconds(), "failure": _explain(error)}
    reply: Reply = {
        "status": verdict.status if verdict else "scored",
        "seconds": seconds(),
        "usage": services.take_usage(),
        "score": asdict(score),
    }
    if score.masked:
        reply["failure"] = score.reason
    return reply
