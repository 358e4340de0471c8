"""Tier wasm: every task in a fresh instance of a CPython that is compiled to WebAssembly and has no imports.

Output and limits are deterministic: fuel counts instructions, not seconds, and programs see a virtual clock.
"""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

from r1kit.rewards.sandbox.base import NO_CPP, Execution, InfraError, Limits, Outcome, Task, no_verdict
from r1kit.rewards.sandbox.interpreter import ENVIRONMENT, command
from r1kit.rewards.sandbox.wasm.build import compiled
from r1kit.rewards.sandbox.wire import LENGTH, REPLY, max_reply_chars, parse_reply
from r1kit.types import SandboxTier

# A host that is silent for longer is broken, on a machine of any load. No verdict depends on these.
START_SECONDS = 120.0
SLOWEST_FUEL_RATE = 1e7  # fuel per second


class WasmSandbox:
    """One host process, restarted when it dies. `component` is the file of the component and its SHA-256."""

    name: SandboxTier = "wasm"

    def __init__(self) -> None:
        self.component = compiled()
        self._host: WasmHost | None = WasmHost(*self.component)

    @property
    def layers(self) -> tuple[str, ...]:
        """What confines the host process on this machine: a subset of landlock and seccomp."""
        return self._running().layers

    @property
    def note(self) -> str:
        """The confinement of the host process, in words."""
        return f"; its host process is under {' and '.join(self.layers) or 'no further confinement'}"

    @property
    def pid(self) -> int:
        """The process id of the host process."""
        return self._running().process.pid

    def run(self, task: Task, limits: Limits) -> Execution:
        """Run the task in a new instance; infra_error if the host process failed on it twice."""
        if task.language != "python":
            return no_verdict(task, NO_CPP)
        for _ in range(2):
            try:
                return self._running().run(task, limits)
            except (InfraError, OSError) as error:
                failure = error
                self.close()
        return no_verdict(task, f"{type(failure).__name__}: {failure}")

    def close(self) -> None:
        """Stop the host process; the next task starts a new one."""
        if self._host:
            self._host.stop()
            self._host = None

    def _running(self) -> WasmHost:
        if not self._host:
            self._host = WasmHost(*self.component)
        return self._host


def open_tier() -> WasmSandbox:
    """Open the tier, and build its component if the cache lacks it. Raises UserError if it cannot be built."""
    return WasmSandbox()


class WasmHost:
    """This side's handle of one host process (wasm/host.py)."""

    def __init__(self, component: Path, digest: str) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                command("wasm.host", "main", str(component), digest),
                env=ENVIRONMENT,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
            )
        self.frames = self.channel.makefile("rb")
        self.channel.settimeout(START_SECONDS)
        try:
            self.layers: tuple[str, ...] = tuple(json.loads(self._frame(1 << 16)[1:])["layers"])
        except (InfraError, OSError):
            self.stop()
            raise

    def run(self, task: Task, limits: Limits) -> Execution:
        """Send the task and collect its outcomes. Raises InfraError or OSError if the process fails."""
        self.channel.settimeout(START_SECONDS + limits.fuel / SLOWEST_FUEL_RATE)
        program = {"mode": task.mode, "source": task.source, "output_bytes": limits.output_bytes}
        request = {"task": program, "inputs": task.inputs, "fuel": limits.fuel, "memory_bytes": limits.memory_bytes}
        data = json.dumps(request).encode()
        self.channel.sendall(LENGTH.pack(len(data)) + data)
        max_bytes = max_reply_chars(limits.output_bytes) + 1
        outcomes: list[Outcome] = []
        while (frame := self._frame(max_bytes))[:1] == REPLY:
            outcomes.append(parse_reply(task.mode, frame[1:].decode("utf-8", "replace"), limits.output_bytes))
        end = json.loads(frame[1:])
        if (missing := len(task.inputs) - len(outcomes)) > 0:
            outcomes += [Outcome(end["status"], None, end["detail"])] * missing
        return Execution(tuple(_stopped_at_limit(outcomes)), end["fuel"])

    def stop(self) -> None:
        """Close the channel, which ends the process; kill it if that takes longer than 1 s."""
        self.frames.close()
        self.channel.close()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _frame(self, max_bytes: int) -> bytes:
        header = self.frames.read(LENGTH.size)
        if len(header) < LENGTH.size:
            raise InfraError("the wasm host ended")
        (size,) = LENGTH.unpack(header)
        if not 0 < size <= max_bytes or len(frame := self.frames.read(size)) < size:
            raise InfraError("the wasm host sent no proper frame")
        return frame


def _stopped_at_limit(outcomes: list[Outcome]) -> list[Outcome]:
    """Make every outcome after the first over_limit equal to it: a program may catch the error and continue."""
    first = next((i for i, outcome in enumerate(outcomes) if outcome.status == "over_limit"), len(outcomes))
    return outcomes[:first] + outcomes[first : first + 1] * (len(outcomes) - first)
