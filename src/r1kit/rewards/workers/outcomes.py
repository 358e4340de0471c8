"""Count what becomes of requests, report the first failure at once, and notice when nothing can be scored."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any, NotRequired, TypedDict

from r1kit.console import warn
from r1kit.rewards.custom import RewardError
from r1kit.rewards.workers.processes import TimedOut

MAX_FAILED = 0.1  # share of completions that may stay without a score
MIN_FAILURES = 8  # fewer failures never stop a run,
MIN_TIMEOUTS = 3  # except that many timeouts if nothing has been scored


class Reply(TypedDict):
    """What a worker process answers to one request."""

    status: str  # of the accuracy verdict; "scored" without one
    seconds: float
    score: NotRequired[dict[str, Any]]  # a Score
    failure: NotRequired[str]  # why there is no usable score
    usage: NotRequired[dict[str, float]]  # of the judge


class Outcomes:
    """What has become of all requests so far. Several threads add to it."""

    def __init__(self) -> None:
        self.scored = self.failed = 0
        self.hopeless = False  # nothing has been scored, and enough has failed
        self._timeouts = 0
        self._first_failure = ""
        self._lock = threading.Lock()

    def add(self, reply: Future[Reply]) -> bool:
        """Count an outcome. Returns True once, when nothing has been scored after many failures."""
        error = reply.exception()
        failure = str(error) if error else reply.result().get("failure", "")
        with self._lock:
            if self.hopeless:  # the rest was stopped
                return False
            is_first = bool(failure) and not self._first_failure
            if is_first:
                self._first_failure = failure
            if error or "score" not in reply.result():
                self.failed += 1
                self._timeouts += isinstance(error, TimedOut)
            else:
                self.scored += 1
            enough = self.failed >= MIN_FAILURES or self._timeouts >= MIN_TIMEOUTS
            becomes_hopeless = enough and not self.scored and not self.hopeless
            self.hopeless |= becomes_hopeless
        if is_first and not error:  # the pool has reported a process that died or was killed
            warn(f"{failure.splitlines()[-1]}; its completion is masked. Further cases are only counted")
        return becomes_hopeless

    def error(self, failed: int, graded: int) -> RewardError:
        """Return the error that ends the run."""
        return RewardError(
            f"{failed} of {graded} completions could not be scored; at most {MAX_FAILED:.0%} may fail. "
            f"Fix the first cause and resume the run:\n{self._first_failure}"
        )
