"""Calls of foreign code beside generation: in threads, with a time limit."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast

from r1kit.errors import UserError

K = TypeVar("K")
AT_ONCE = 64  # calls at the same time; more would help only environments that wait for a network
MAX_HUNG = 256  # threads that were given up
MAX_SHOWN = 300  # characters of an exception


@dataclass(frozen=True, slots=True)
class Outcome(Generic[K]):
    """What became of a call."""

    key: K
    value: Any = None
    failure: str = ""  # why there is no value


class Calls(Generic[K]):
    """Calls in threads, which are kept: a sandbox belongs to its thread.

    A thread cannot be ended. One that takes too long is given up, and its result ignored.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.hung = seconds, 0
        self._waiting: deque[tuple[K, Callable[[], Any]]] = deque()
        self._running: dict[int, tuple[K, float]] = {}  # number of the call -> key, deadline
        self._given_up: set[int] = set()
        self._threads = 0  # that are not given up
        self._tasks: SimpleQueue[tuple[int, K, Callable[[], Any]]] = SimpleQueue()
        self._done: SimpleQueue[tuple[int, Outcome[K]]] = SimpleQueue()
        self._numbers = count()

    @property
    def is_busy(self) -> bool:
        """Whether there are calls without an outcome."""
        return bool(self._waiting or self._running)

    def submit(self, key: K, call: Callable[[], Any]) -> None:
        """Start a call, at once or when others have ended."""
        self._waiting.append((key, call))
        self._start()

    def collect(self, wait: bool) -> list[Outcome[K]]:
        """Return the outcomes since the last call; with `wait`, at least one if there are calls.

        Raises:
            UserError: MAX_HUNG threads were given up.
        """
        outcomes: list[Outcome[K]] = []
        while self.is_busy:
            try:
                number, outcome = self._done.get(timeout=self._patience() if wait and not outcomes else 0)
            except Empty:
                outcomes += self._overdue()
                self._start()
                if outcomes or not wait:
                    break
                continue
            if self._running.pop(number, None) is not None:
                outcomes.append(outcome)
                self._start()
        return outcomes

    def forget(self) -> None:
        """Drop all calls without an outcome. Those that have begun go on in their threads."""
        self._waiting.clear()
        self._give_up([*self._running])

    def _start(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            key, call = self._waiting.popleft()
            number = next(self._numbers)
            self._running[number] = key, time.monotonic() + self.seconds
            self._tasks.put((number, key, call))
            if self._threads < len(self._running):
                self._threads += 1
                threading.Thread(target=self._work, name="environment", daemon=True).start()

    def _work(self) -> None:
        number = -1
        while number not in self._given_up:
            number, key, call = self._tasks.get()
            try:
                self._done.put((number, Outcome(key, _value(call))))
            except _Failed as failed:
                self._done.put((number, Outcome(key, failure=str(failed))))

    def _patience(self) -> float:
        return max(0.0, min(deadline for _, deadline in self._running.values()) - time.monotonic())

    def _overdue(self) -> list[Outcome[K]]:
        late = [number for number, (_, deadline) in self._running.items() if time.monotonic() >= deadline]
        self.hung += len(late)
        if self.hung > MAX_HUNG:
            raise UserError(
                f"{self.hung} calls of the environment took longer than {self.seconds:g} seconds (reward_timeout), and "
                "their threads go on: make it end by itself, or raise reward_timeout"
            )
        failure = f"took longer than {self.seconds:g} seconds (reward_timeout)"
        return [Outcome(key, failure=failure) for key in self._give_up(late)]

    def _give_up(self, numbers: list[int]) -> list[K]:
        self._given_up.update(numbers)
        self._threads -= len(numbers)
        return [self._running.pop(number)[0] for number in numbers]


def resolved(value: Any) -> Any:
    """Return what a call returned; a coroutine is run to its end. No event loop may run in this thread."""
    return asyncio.run(cast(Coroutine[Any, Any, Any], value)) if inspect.iscoroutine(value) else value


class _Failed(Exception):
    """Foreign code has raised; with its exception as text."""


def _value(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt) as error:  # signals reach the main thread
        try:
            text = " ".join(str(error)[: 4 * MAX_SHOWN].split())[:MAX_SHOWN]
        except Exception as unprintable:  # foreign code too
            raise _Failed(f"{type(error).__name__}: an exception that cannot be shown") from unprintable
        raise _Failed(f"{type(error).__name__}: {text}") from error
