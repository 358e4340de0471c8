"""Run a function in a pool of worker processes that may die or hang.

Each process has a thread here that sends its requests. A process that dies is replaced and its request sent once more;
a process that exceeds `Settings.timeout` is killed. A request without an answer is `Lost`: its sample is masked, never
scored 0. The first death of each kind is reported at once, with what the process was doing.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from r1kit.console import duration, number, warn
from r1kit.rewards import services
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.process import STARTUP_TIMEOUT, Died, Process

Answer = TypeVar("Answer")

TRIES = 2  # of a request whose process dies


class Lost(Exception):
    """A request without an answer: its process died on every try, or took too long."""


class TimedOut(Lost):
    """A request whose process was killed because it took too long."""


@dataclass(eq=False)
class _Task(Generic[Answer]):
    """One request, its future answer, and what is being done for it."""

    line: bytes
    subject: str  # what the request is about, such as a question
    purpose: str  # what its process does unless it says otherwise
    answer: Future[Answer] = field(default_factory=Future)
    doing: str = ""  # what its process says that it does
    since: float = 0.0  # when its process received it; 0 while the process starts

    def __str__(self) -> str:
        return f"{self.activity}, {self.subject}" if self.subject else self.activity

    @property
    def activity(self) -> str:
        """What is being done for the request."""
        return (self.doing or self.purpose) if self.since else "starting a worker process"

    def set_activity(self, activity: str) -> None:
        """Note what the process says that it does; "" for the purpose of the request."""
        self.doing = activity
        if activity in (services.OPENING, ""):
            self.since = time.monotonic()


class Pool(Generic[Answer]):
    """Worker processes that call one function.

    Args:
        target: "module:function", from a JSON value to a JSON value.
        workers: The number of processes.
        settings: What the processes grade with.
        when_lost: What happens to a request without an answer, for messages.
    """

    def __init__(
        self, target: str, workers: int, *, settings: Settings | None = None, when_lost: str = "its request is lost"
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers = {workers}: must be at least 1")
        self.workers = workers
        self.restarts = 0  # processes that were replaced
        settings = settings or Settings()
        module = "r1kit.rewards.workers.worker"
        self._command = [sys.executable, "-m", module, target, json.dumps(asdict(settings))]
        self._timeout, self._when_lost = settings.timeout, when_lost
        self._requests: queue.SimpleQueue[_Task[Answer] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._aborted = False
        self._running: set[Process] = set()
        self._current: dict[_Task[Answer], None] = {}  # in the processes, oldest first
        self._reported: set[str] = set()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, request: Any, subject: str = "", purpose: str = "working") -> Future[Answer]:
        """Send one request. The future raises Lost when there is no answer.

        Args:
            request: A JSON value.
            subject: What the request is about, for messages.
            purpose: What the process does first, for messages; `services.now_doing` in the process replaces it.
        """
        task: _Task[Answer] = _Task(json.dumps(request).encode() + b"\n", subject, purpose)
        with self._lock:  # else a request behind an `abort` in another thread would never be answered
            if not self._aborted:
                self._requests.put(task)
                return task.answer
        task.answer.set_exception(Lost("the worker processes were stopped"))
        return task.answer

    def waiting_for(self) -> str:
        """Return what the oldest request in a process does, for how long, and what will happen to it."""
        with self._lock:
            current = list(self._current)
        waiting = f"; {self._requests.qsize()} more to do" if self._requests.qsize() else ""
        if not current:
            return f"no request in a process{waiting}"
        task = current[0]
        if not task.since or task.doing == services.OPENING:
            return f"{task}{waiting}"
        limit = f"after {duration(self._timeout)} it is killed and {self._when_lost}"
        return f"{task}: {duration(time.monotonic() - task.since)} so far, {limit}{waiting}"

    def close(self) -> None:
        """Finish the submitted requests, then end the processes."""
        for _ in self._threads:
            self._requests.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort()
        self.close()

    def abort(self) -> None:
        """Lose the submitted requests and kill the processes."""
        with self._lock:
            self._aborted = True
            for process in self._running:
                process.signal()
        with suppress(queue.Empty):
            while True:
                if (task := self._requests.get_nowait()) is not None:
                    task.answer.set_exception(Lost("the worker processes were stopped"))

    def _serve(self) -> None:
        """Answer requests in one thread until the queue ends, replacing the process when it fails."""
        process: Process | None = None
        while (task := self._requests.get()) is not None:
            with self._lock:
                self._current[task] = None
            try:
                process = self._answer(process, task)
            except BaseException as error:  # a bug in the pool: the waiting caller must not hang
                task.answer.set_exception(error)
                raise
            finally:
                with self._lock:
                    del self._current[task]
        if process is not None:
            with self._lock:
                self._running.discard(process)
            process.end()

    def _answer(self, process: Process | None, task: _Task[Answer]) -> Process | None:
        """Answer one request; return the process if it still runs."""
        lost = Lost("the worker processes were stopped")
        for trial in range(TRIES):
            if process is None and (process := self._start()) is None:
                break
            task.doing, task.since = "", 0.0
            try:
                process.wait_until_ready()
                task.since = time.monotonic()
                answer = process.ask(task.line, self._timeout, task.set_activity)
            except (Died, TimeoutError) as error:
                lost = self._bury(process, task, error, is_last=trial == TRIES - 1)
                process = None
                if isinstance(error, TimeoutError):  # a second try would take as long
                    break
            else:
                task.answer.set_result(json.loads(answer))
                return process
        task.answer.set_exception(lost)
        return None

    def _bury(self, process: Process, task: _Task[Answer], error: Died | TimeoutError, is_last: bool) -> Lost:
        """Kill a process that died or hangs, report the first such case, and return the fault of its request."""
        with self._lock:
            self._running.discard(process)
        process.kill()
        self.restarts += 1
        if isinstance(error, TimeoutError):
            cause, fate = f"no answer within {number(self._timeout)} seconds", self._when_lost
            if not task.since:
                cause = f"not ready within {number(STARTUP_TIMEOUT)} seconds"
            fault: Lost = TimedOut(f"{task}: the worker process was killed: {cause}")
            event = f"worker process killed: {cause}"
        else:
            fate = self._when_lost if is_last else "trying once more in a new process"
            fault = Lost(f"{task}: the worker process died on each of {TRIES} tries ({error})")
            event = f"worker process died ({error})"
        key = f"{event} {task.activity} {fate}"
        if key not in self._reported and not self._aborted:
            self._reported.add(key)
            warn(f"{event}: {task}; {fate}. Further cases are only counted")
        return fault

    def _start(self) -> Process | None:
        """Start a process; None if the pool is being aborted."""
        with self._lock:
            if self._aborted:
                return None
            self._running.add(process := Process(self._command))
            return process
