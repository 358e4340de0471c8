"""Grading in processes of their own, beside generation: in order, whatever dies, hangs or finishes first.

One thread here looks after one process there. A process that dies is replaced and its request asked once more; one that
takes longer than `Settings.timeout` is killed. Such a request is lost, which is no verdict: its
sample is masked, never 0.
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
from typing import Any, Self

from r1kit.rewards.services import Settings

TRIES = 2  # of a request whose process dies
STARTUP = 900.0  # seconds until a new process takes requests; it yields to the learner, so a busy machine takes long
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


class Lost(Exception):
    """A request that got no answer: its process died each time, or took too long."""


class Pool:
    """`workers` processes that answer requests by `target` ("module:function", JSON value -> JSON value)."""

    def __init__(self, target: str, workers: int, *, settings: Settings | None = None) -> None:
        if workers < 1:
            raise ValueError(f"{workers} grading processes: at least 1 is needed")
        self.workers = workers
        self.restarts = 0  # processes that had to be replaced
        settings = settings or Settings()
        self._command = [
            sys.executable,
            "-m",
            "r1kit.rewards.workers.worker",
            target,
            json.dumps(asdict(settings)),
        ]
        self._timeout = settings.timeout
        self._waiting: queue.SimpleQueue[tuple[bytes, Future[Any]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, request: Any) -> Future[Any]:
        """Ask for one answer. The future's result is that answer; Lost when there is none."""
        future: Future[Any] = Future()
        self._waiting.put((json.dumps(request).encode() + b"\n", future))
        return future

    def close(self) -> None:
        """Finish what was asked, then end the processes."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:  # nobody waits for the rest
            while not self._waiting.empty():
                self._waiting.get()
        self.close()

    def _serve(self) -> None:
        """One thread's life: take a request, have it answered, replace the process when it breaks."""
        process: _Process | None = None
        while (job := self._waiting.get()) is not None:
            request, future = job
            try:
                process = self._answer(process, request, future)
            except BaseException as error:  # a fault of the pool's own: whoever waits must hear of it
                future.set_exception(error)
                raise
        if process is not None:
            process.end()

    def _answer(self, process: _Process | None, request: bytes, future: Future[Any]) -> _Process | None:
        """Answer one request; returns the process that still runs afterwards."""
        why = ""
        for _ in range(TRIES):
            process = process or _Process(self._command)
            try:
                future.set_result(json.loads(process.ask(request, self._timeout)))
                return process
            except (_Died, TimeoutError) as error:
                process.kill()
                process, why = None, str(error)
                self.restarts += 1
                if isinstance(error, TimeoutError):  # it would take as long again
                    break
        future.set_exception(Lost(why))
        return None


class _Died(Exception):
    pass


class _Process:
    """A running worker and the pipes to it."""

    def __init__(self, command: list[str]) -> None:
        self._ready = False
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # ^C is the parent's to handle, and kill() takes its children along
        )

    def ask(self, request: bytes, timeout: float) -> bytes:
        """One line out, one line in. TimeoutError after `timeout` seconds, _Died when the pipe breaks."""
        if not self._ready:
            self._line(STARTUP)
            self._ready = True
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        return self._line(timeout)

    def _line(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        line, waits = b"", select.poll()
        waits.register(self._process.stdout, select.POLLIN)
        while not line.endswith(b"\n"):
            if not waits.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(f"the grading process was still busy after {timeout:g} seconds and was killed")
            if not (piece := os.read(self._process.stdout.fileno(), 1 << 16)):
                raise self._death()
            line += piece
        return line

    def _death(self) -> _Died:
        return _Died(f"the grading process died (exit code {self._process.wait()}) on both tries")

    def kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()
        self.end()

    def end(self) -> None:
        with suppress(BrokenPipeError):  # a request that it did not live to read
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
