"""Tier T0: every task in a fresh instance of a CPython that was compiled to WebAssembly and can call nothing.

Output and limits are deterministic: fuel counts instructions, not seconds, and a program sees a virtual clock.
"""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

from r1kit.rewards.sandbox.base import NO_CPP, Execution, Limits, Outcome, Task, no_verdict
from r1kit.rewards.sandbox.channel import Broken
from r1kit.rewards.sandbox.native import ENVIRONMENT, interpreter
from r1kit.rewards.sandbox.wasm.build import compiled
from r1kit.rewards.sandbox.wire import LENGTH, REPLY, longest_reply, outcome

# No verdict hangs on these: a host that is silent for so long, on however loaded a machine, is broken.
START_SECONDS, SLOWEST_FUEL = 120.0, 1e7  # fuel a second


class WasmSandbox:
    """One host process; it is started again when it dies."""

    name = "wasm"

    def __init__(self) -> None:
        self._components = compiled()
        self._host: _Host | None = _Host(*self._components)

    @property
    def layers(self) -> tuple[str, ...]:
        """What this machine confines the host process with: of landlock, seccomp."""
        return self._running().layers

    @property
    def pid(self) -> int:
        """The host process."""
        return self._running().process.pid

    def run(self, task: Task, limits: Limits) -> Execution:
        """Never raises for what a candidate does; infra_error when the host died of the task twice."""
        if task.language != "python":
            return no_verdict(task, NO_CPP)
        for _ in range(2):
            try:
                return self._running().run(task, limits)
            except (Broken, OSError) as error:
                fault = error
                self.close()
        return no_verdict(task, f"{type(fault).__name__}: {fault}")

    def close(self) -> None:
        if self._host:
            self._host.stop()
            self._host = None

    def _running(self) -> _Host:
        if not self._host:
            self._host = _Host(*self._components)
        return self._host


class _Host:
    """This side's end of one host process."""

    def __init__(self, directory: Path, digests: str) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                interpreter("wasm.host", "main", str(directory), digests), env=ENVIRONMENT, stdin=theirs, stdout=theirs
            )
        self.frames = self.channel.makefile("rb")
        self.channel.settimeout(START_SECONDS)
        try:
            self.layers = tuple(json.loads(self._frame(1 << 16)[1:])["layers"])
        except (Broken, OSError):
            self.stop()
            raise

    def run(self, task: Task, limits: Limits) -> Execution:
        self.channel.settimeout(START_SECONDS + limits.fuel / SLOWEST_FUEL)
        program = {"mode": task.mode, "source": task.source, "output_bytes": limits.output_bytes}
        request = {"task": program, "inputs": task.inputs, "fuel": limits.fuel, "memory_bytes": limits.memory_bytes}
        data = json.dumps(request).encode()
        self.channel.sendall(LENGTH.pack(len(data)) + data)
        longest = longest_reply(limits.output_bytes) + 1
        outcomes: list[Outcome] = []
        while (frame := self._frame(longest))[:1] == REPLY:
            outcomes.append(outcome(task.mode, frame[1:].decode("utf-8", "replace"), limits.output_bytes))
        ended = json.loads(frame[1:])
        if (missing := len(task.inputs) - len(outcomes)) > 0:
            outcomes += [Outcome(ended["status"], None, ended["detail"])] * missing
        return Execution(tuple(_stopped_at_limit(outcomes)), ended["fuel"])

    def stop(self) -> None:
        """A host ends when its channel closes; one that does not is killed."""
        self.frames.close()
        self.channel.close()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _frame(self, longest: int) -> bytes:
        header = self.frames.read(LENGTH.size)
        if len(header) < LENGTH.size:
            raise Broken("the wasm host ended")
        (size,) = LENGTH.unpack(header)
        if not 0 < size <= longest or len(frame := self.frames.read(size)) < size:
            raise Broken("the wasm host sent no proper frame")
        return frame


def _stopped_at_limit(outcomes: list[Outcome]) -> list[Outcome]:
    """After over_limit the rest are over_limit too, whatever a program does that goes on after it."""
    first = next((i for i, outcome in enumerate(outcomes) if outcome.status == "over_limit"), len(outcomes))
    return outcomes[:first] + outcomes[first : first + 1] * (len(outcomes) - first)
