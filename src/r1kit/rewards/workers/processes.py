"""Run a function in a pool of worker processes that may die or hang.

Each process has a thread here that sends its requests. A process that dies is replaced and its request sent once more;
a process that exceeds `Settings.timeout` is killed. A request without an answer is `Lost`: its sample is masked, never
scored 0.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from r1kit.rewards.services import Settings

Answer = TypeVar("Answer")

TRIES = 2  # of a request whose process dies
STARTUP_TIMEOUT = 900.0  # seconds; workers run at low priority, so they start slowly on a busy machine
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


class Lost(Exception):
    """A request without an answer: its process died on every try, or took too long."""


class Pool(Generic[Answer]):
    """Worker processes that call one function.

    Args:
        target: "module:function", from a JSON value to a JSON value.
        workers: The number of processes.
        settings: What the processes grade with.
    """

    def __init__(self, target: str, workers: int, *, settings: Settings | None = None) -> None:
        if workers < 1:
            raise ValueError(f"workers = {workers}: must be at least 1")
        self.workers = workers
        self.restarts = 0  # processes that were replaced
        settings = settings or Settings()
        module = "r1kit.rewards.workers.worker"
        self._command = [sys.executable, "-m", module, target, json.dumps(asdict(settings))]
        self._timeout = settings.timeout
        self._requests: queue.SimpleQueue[tuple[bytes, Future[Answer]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._aborted = False
        self._running: set[_Process] = set()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, request: Any) -> Future[Answer]:
        """Send one request. The future raises Lost when there is no answer."""
        future: Future[Answer] = Future()
        self._requests.put((json.dumps(request).encode() + b"\n", future))
        return future

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
            self._abort()
        self.close()

    def _abort(self) -> None:
        """Drop the submitted requests and kill the processes: nothing will read the answers."""
        with suppress(queue.Empty):
            while True:
                self._requests.get_nowait()
        with self._lock:
            self._aborted = True
            for process in self._running:
                process.signal()

    def _serve(self) -> None:
        """Answer requests in one thread until the queue ends, replacing the process when it fails."""
        process: _Process | None = None
        while (job := self._requests.get()) is not None:
            request, future = job
            try:
                process = self._answer(process, request, future)
            except BaseException as error:  # a bug in the pool: the waiting caller must not hang
                future.set_exception(error)
                raise
        if process is not None:
            with self._lock:
                self._running.discard(process)
            process.end()

    def _answer(self, process: _Process | None, request: bytes, future: Future[Answer]) -> _Process | None:
        """Answer one request; return the process if it still runs."""
        reason = ""
        for _ in range(TRIES):
            if process is None and (process := self._start()) is None:
                break
            try:
                future.set_result(json.loads(process.ask(request, self._timeout)))
                return process
            except (_Died, TimeoutError) as error:
                with self._lock:
                    self._running.discard(process)
                process.kill()
                process, reason = None, str(error)
                self.restarts += 1
                if isinstance(error, TimeoutError):  # a second try would take as long
                    break
        future.set_exception(Lost(reason))
        return None

    def _start(self) -> _Process | None:
        """Start a process; None if the pool is being aborted."""
        with self._lock:
            if self._aborted:
                return None
            self._running.add(process := _Process(self._command))
            return process


class _Died(Exception):
    """The worker process ended before it answered."""


class _Process:
    """A running worker process and its pipes."""

    def __init__(self, command: list[str]) -> None:
        self._ready = False
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # only the parent handles ^C, and kill() reaches the worker's children
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def ask(self, request: bytes, timeout: float) -> bytes:
        """Send one line and return the answering line. TimeoutError after `timeout` seconds, _Died at a broken pipe."""
        if not self._ready:
            self._read_line(STARTUP_TIMEOUT)
            self._ready = True
        try:
            self._stdin.write(request)
            self._stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        return self._read_line(timeout)

    def _read_line(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        line, poll = b"", select.poll()
        poll.register(self._stdout, select.POLLIN)
        while not line.endswith(b"\n"):
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(f"the worker process was killed: no answer within {timeout:g} seconds")
            if not (piece := os.read(self._stdout.fileno(), 1 << 16)):
                raise self._death()
            line += piece
        return line

    def _death(self) -> _Died:
        return _Died(f"the worker process died on each of {TRIES} tries (exit code {self._process.wait()})")

    def signal(self) -> None:
        """Send SIGKILL to the process and its children. The thread that uses the process then finds it dead."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()

    def kill(self) -> None:
        """Kill the process and its children, and wait for it."""
        self.signal()
        self.end()

    def end(self) -> None:
        """Close the pipes and wait for the process."""
        with suppress(BrokenPipeError):  # the process ended before it read the last request
            self._stdin.close()
        self._process.wait()
        self._stdout.close()
