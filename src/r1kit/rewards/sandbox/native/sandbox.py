"""The host's side of the native tiers: candidates run on this machine's own Python, with numpy, at full speed.

Linux only. The fork server (forkserver.py) starts and confines a process for each candidate.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from typing import Any

from r1kit.rewards.sandbox.base import NO_CPP, Execution, InfraError, Limits, Task, no_verdict
from r1kit.rewards.sandbox.channel import Exit, exchange, new_channel, oom_kills, to_execution
from r1kit.rewards.sandbox.interpreter import ENVIRONMENT, command
from r1kit.rewards.sandbox.native.modes import OWN_SERVER
from r1kit.types import SandboxTier

SERVER_SECONDS = 120.0  # for a server to start, or to report the end of a candidate


class NativeSandbox:
    """A fork server for programs, and one for each mode in OWN_SERVER, started on first use."""

    name: SandboxTier
    note = ""

    def __init__(self) -> None:
        self.servers: dict[str, ForkServer] = {}  # by mode; "" serves programs
        self._server("")

    def run(self, task: Task, limits: Limits) -> Execution:
        """Run the task; infra_error if the server failed on it twice."""
        return self.run_on_server(task, limits) if task.language == "python" else no_verdict(task, NO_CPP)

    def run_on_server(self, task: Task, limits: Limits) -> Execution:
        """Run a task of any language on the fork server of its mode; see `run`."""
        mode = task.mode if task.mode in OWN_SERVER else ""
        for _ in range(2):
            try:
                return self._server(mode).run(task, limits)
            except (InfraError, OSError) as error:
                failure = error
                self._stop(mode)
        return no_verdict(task, f"{type(failure).__name__}: {failure}")

    def close(self) -> None:
        """Stop all servers, and with them their candidates."""
        for mode in [*self.servers]:
            self._stop(mode)

    def _server(self, mode: str) -> ForkServer:
        if mode not in self.servers:
            self.servers[mode] = ForkServer(self.name, mode)
        return self.servers[mode]

    def _stop(self, mode: str) -> None:
        if server := self.servers.pop(mode, None):
            server.stop()


class ForkServer:
    """The host's handle of one fork server process."""

    def __init__(self, tier: str, mode: str) -> None:
        if sys.platform != "linux":
            raise InfraError(f"the tier {tier!r} needs Linux, this is {sys.platform}")
        self.oom_kills = oom_kills()  # of the machine
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                command("native.forkserver", "main", theirs.fileno(), tier, mode),
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            report = self._receive()
        except (InfraError, OSError):
            self.stop()
            raise
        if "error" in report:
            self.stop()
            raise InfraError(report["error"])

    def run(self, task: Task, limits: Limits) -> Execution:
        """Have the server fork a candidate for the task. Raises InfraError or OSError if the server fails."""
        request = {"cpu_seconds": limits.cpu_seconds, "memory_bytes": limits.memory_bytes}
        channel, theirs = new_channel()
        with channel, theirs:
            socket.send_fds(self.control, [json.dumps(request).encode()], [theirs.fileno()])
            theirs.close()
            outcomes, timed_out = exchange(channel, task, limits)
            self.control.send(b"stop")  # the candidate has ended, or nothing more is wanted of it
        end = Exit(**self._receive())
        if end.code == -signal.SIGKILL:
            end = replace(end, oom_killed=self._oom_killed())
        return to_execution(outcomes, timed_out, end, task, limits)

    def stop(self) -> None:
        """Close the control socket, which ends the server and its candidate; kill the server if that takes 1 s."""
        self.control.close()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _oom_killed(self) -> bool | None:
        """Return whether the kernel has killed for lack of memory since the last call; None if it does not say.

        Counting takes the kernel about 1 ms, so this is only called for killed candidates.
        """
        before, self.oom_kills = self.oom_kills, oom_kills()
        return None if before is None or self.oom_kills is None else self.oom_kills > before

    def _receive(self) -> dict[str, Any]:
        self.control.settimeout(SERVER_SECONDS)
        message = self.control.recv(4096)
        if not message:
            raise InfraError("the fork server ended")
        report: dict[str, Any] = json.loads(message)
        return report
