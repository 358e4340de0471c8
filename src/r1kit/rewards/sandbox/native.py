"""The native tiers: candidates run by this machine's own Python, numpy included, at full speed, on Linux.

namespaces: own users, processes, mounts, network; a small private file system; and all of the next.
landlock: reads nothing but Python's library, writes nowhere, makes no system call that is not on a short list. For
containers and distributions that grant no namespaces; there a candidate can still learn which files exist.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from r1kit.rewards.sandbox.base import NO_CPP, Execution, Limits, Outcome, Task, no_verdict
from r1kit.rewards.sandbox.channel import Broken, Ended, complete, converse, new_channel

ROOT = Path(__file__).resolve().parents[3]  # where the package r1kit lies
BOOT = "import sys; sys.path.insert(0, {!r}); from r1kit.rewards.sandbox.{module} import {name}; {name}{arguments!r}"
# One thread, or there is no forking; one seed for hash(), so that the order of a set is the same on every run.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
OTHER_MODES = ("symbolic", "gym", "compile", "library")  # with a server of their own
TO_COMPILE = Limits(cpu_seconds=20.0, memory_bytes=2 << 30, output_bytes=16 << 20)
SERVER_SECONDS = 120.0  # for a server to start, or to bury a candidate


def interpreter(module: str, name: str, *arguments: object) -> list[str]:
    """The command for a bare interpreter that makes one call of a function in a module of this package."""
    code = BOOT.format(str(ROOT), module=module, name=name, arguments=arguments)
    return [sys.executable, "-P", "-s", "-c", code]


class NativeSandbox:
    """A fork server for programs and, from their first use on, others with what OTHER_MODES need loaded."""

    name = ""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}  # mode, or "" for programs
        self._server("")

    def run(self, task: Task, limits: Limits) -> Execution:
        """Never raises for what a candidate does; infra_error when the server died of the task twice."""
        return self._run(task, limits) if task.language == "python" else no_verdict(task, NO_CPP)

    def _run(self, task: Task, limits: Limits) -> Execution:
        mode = task.mode if task.mode in OTHER_MODES else ""
        for _ in range(2):
            try:
                return self._server(mode).run(task, limits)
            except (Broken, OSError) as error:
                fault = error
                self._stop(mode)
        return no_verdict(task, f"{type(fault).__name__}: {fault}")

    def close(self) -> None:
        for mode in [*self._servers]:
            self._stop(mode)

    def _server(self, mode: str) -> _Server:
        if mode not in self._servers:
            self._servers[mode] = _Server(self.name, mode)
        return self._servers[mode]

    def _stop(self, mode: str) -> None:
        if server := self._servers.pop(mode, None):
            server.stop()


class NamespaceSandbox(NativeSandbox):
    name = "namespaces"
    _compiled: tuple[str, Outcome] | None = None  # the last C++ program, and what compiling it came to

    def run(self, task: Task, limits: Limits) -> Execution:
        return self._run_cpp(task, limits) if task.language == "cpp" else super().run(task, limits)

    def _run_cpp(self, task: Task, limits: Limits) -> Execution:
        """Compile, once for the tasks of one source, and run on each input."""
        if self._compiled is None or self._compiled[0] != task.source:
            [made] = self._run(Task("compile", task.source, ("",)), TO_COMPILE).outcomes
            if made.status == "error" and not made.detail.startswith("CompileError"):  # it never came to compiling
                made = Outcome("infra_error", detail=f"C++ needs g++: {made.detail}")
            self._compiled = task.source, made
        made = self._compiled[1]
        if made.status != "ok":
            return Execution((made,) * len(task.inputs))
        runs = (self._run(Task("library", made.value, (text,)), limits) for text in task.inputs)
        return Execution(tuple(run.outcomes[0] for run in runs))


class LandlockSandbox(NativeSandbox):
    name = "landlock"


class _Server:
    """The host's end of one fork server."""

    def __init__(self, tier: str, mode: str) -> None:
        if sys.platform != "linux":
            raise Broken(f"the tier {tier!r} needs Linux, this is {sys.platform}")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                interpreter("forkserver", "main", theirs.fileno(), tier, mode),
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            report = self._receive()
        except (Broken, OSError):
            self.stop()
            raise
        if "error" in report:
            self.stop()
            raise Broken(report["error"])

    def run(self, task: Task, limits: Limits) -> Execution:
        request = {"cpu_seconds": limits.cpu_seconds, "memory_bytes": limits.memory_bytes}
        channel, theirs = new_channel()
        with channel, theirs:
            socket.send_fds(self.control, [json.dumps(request).encode()], [theirs.fileno()])
            theirs.close()
            outcomes, timed_out = converse(channel, task, limits)
            self.control.send(b"stop")  # it has ended, or has nothing more to say
        return complete(outcomes, timed_out, Ended(**self._receive()), task, limits)

    def stop(self) -> None:
        """Closing the socket ends the server and its candidate; what does not end in time is killed."""
        self.control.close()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _receive(self) -> dict:
        self.control.settimeout(SERVER_SECONDS)
        message = self.control.recv(4096)
        if not message:
            raise Broken("the fork server ended")
        return json.loads(message)
