"""A worker process as its parent sees it: start it, ask it, kill it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from r1kit.rewards import services

STARTUP_TIMEOUT = 900.0  # seconds; workers run at low priority, so they start slowly on a busy machine
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


class Died(Exception):
    """The worker process ended before it answered. The message is how: an exit code or a signal."""


class Process:
    """A running worker process and its pipes."""

    def __init__(self, command: list[str]) -> None:
        self.is_ready = False
        self._unread = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # only the parent handles ^C, and kill() reaches the worker's children
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def wait_until_ready(self) -> None:
        """Wait until the process has started. TimeoutError when that takes too long, Died when it fails."""
        if not self.is_ready:
            self._read_line(time.monotonic() + STARTUP_TIMEOUT)
            self.is_ready = True

    def ask(self, request: bytes, timeout: float, on_activity: Callable[[str], None]) -> bytes:
        """Send one line and return the answering line.

        Args:
            request: The line.
            timeout: Seconds, without those to open a sandbox; then TimeoutError.
            on_activity: Called with what the process says that it is about to do; "" for what the request asks for.

        Raises:
            Died: The process ended.
        """
        deadline = time.monotonic() + timeout
        try:
            self._stdin.write(request)
            self._stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        while (line := self._read_line(deadline)).startswith(b"#"):
            activity = json.loads(line[1:])
            on_activity(activity)
            if activity in (services.OPENING, ""):  # opening a sandbox has its own limit; then the request's begins
                deadline = time.monotonic() + (STARTUP_TIMEOUT if activity else timeout)
        return line

    def _read_line(self, deadline: float) -> bytes:
        poll = select.poll()
        poll.register(self._stdout, select.POLLIN)
        pieces = [self._unread]
        while b"\n" not in pieces[-1]:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            if not (piece := os.read(self._stdout.fileno(), 1 << 16)):
                raise self._death()
            pieces.append(piece)
        line, _, self._unread = b"".join(pieces).partition(b"\n")
        return line

    def _death(self) -> Died:
        code = self._process.wait()
        if code >= 0:
            return Died(f"exit code {code}")
        with suppress(ValueError):
            return Died(f"signal {signal.Signals(-code).name}")
        return Died(f"signal {-code}")

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
