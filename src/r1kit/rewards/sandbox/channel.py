"""The host's side of the socket to one candidate process: sends a task and reads its outcomes.

Guest to host: READY once it is confined, then one reply per line. Host to guest: the task as JSON, then end of file.
Everything after READY is hostile: it is capped, decoded as data only, and cannot claim infra_error.
guest/task.py is the other side.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from r1kit.rewards.sandbox.base import Execution, InfraError, Limits, Outcome, Task
from r1kit.rewards.sandbox.wire import DETAIL_CHARS, OUT_OF_MEMORY, READY, max_reply_chars, parse_reply

# Share of the CPU limit above which SIGKILL counts as the CPU limit, where OOM kills are not counted.
NEARLY = 0.95
WALL_SLACK = 0.3  # seconds of wall clock above the CPU limit
START_SECONDS = 120.0  # wait for a candidate to start
STARVED_SECONDS = 120.0  # wait for a processor, in total
CHUNK = 1 << 16
CREDENTIALS = struct.Struct("iII")  # pid, uid, gid


@dataclass(frozen=True)
class Exit:
    """How a candidate's process ended."""

    code: int  # exit code; -signal when killed by a signal
    cpu_seconds: float
    stopped: bool  # the host stopped it after it had read enough
    oom_killed: bool | None = None  # the kernel has lately killed a process for lack of memory; None if unknown


def new_channel() -> tuple[socket.socket, socket.socket]:
    """Return the host's end and the guest's end. On Linux the host's end receives the writer's process id."""
    host, guest = socket.socketpair()
    if hasattr(socket, "SO_PASSCRED"):
        host.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return host, guest


def exchange(channel: socket.socket, task: Task, limits: Limits) -> tuple[list[Outcome], bool]:
    """Send the task and return (outcomes, timed out). `to_execution` fills in the outcomes that are missing.

    Raises:
        InfraError: the guest never became ready, or waited too long for a processor.
        TimeoutError: the guest never became ready.
    """
    first, candidate = _first_line(channel)
    if first != READY:
        raise InfraError(f"the candidate's process did not start: {first[:DETAIL_CHARS].decode('utf-8', 'replace')}")
    message = {"mode": task.mode, "source": task.source, "inputs": task.inputs, "output_bytes": limits.output_bytes}
    lines = _lines(channel, max_reply_chars(limits.output_bytes), limits.cpu_seconds + WALL_SLACK, candidate)
    outcomes: list[Outcome] = []
    try:
        channel.settimeout(START_SECONDS)
        channel.sendall(json.dumps(message).encode())
        channel.shutdown(socket.SHUT_WR)
        while len(outcomes) < len(task.inputs) and not (outcomes and outcomes[-1].status == "over_limit"):
            outcomes.append(parse_reply(task.mode, next(lines).decode("utf-8", "replace"), limits.output_bytes))
    except (StopIteration, BrokenPipeError, ConnectionResetError):
        return outcomes, False  # its exit code explains why
    except TimeoutError:
        return outcomes, True
    return outcomes, False


def to_execution(outcomes: list[Outcome], timed_out: bool, end: Exit, task: Task, limits: Limits) -> Execution:
    """Return one outcome per input. The process's end decides those that never arrived."""
    if outcomes and outcomes[-1].status == "over_limit":
        rest = outcomes[-1]
    elif timed_out:
        rest = Outcome("over_limit", detail=f"wall clock: {limits.cpu_seconds + WALL_SLACK:.1f} s")
    else:
        rest = _outcome_of_exit(end, limits)
    return Execution((*outcomes, *(rest,) * (len(task.inputs) - len(outcomes))))


def oom_kills() -> int | None:
    """Return how many processes the kernel has killed for lack of memory since it started; None if it does not say."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/vmstat").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("oom_kill ")))
    return None


def _outcome_of_exit(end: Exit, limits: Limits) -> Outcome:
    """Return what the end of a candidate's process says about the candidate.

    SIGKILL comes from the CPU limit, the host or the kernel's OOM killer. The limit counts whole ticks and the measured
    time does not, so under load a candidate is killed with any measured time.
    """
    cpu_exhausted = end.cpu_seconds >= NEARLY * limits.cpu_seconds or (end.oom_killed is False and not end.stopped)
    if end.code == -signal.SIGXCPU or (end.code == -signal.SIGKILL and cpu_exhausted):
        return Outcome("over_limit", detail=f"CPU time: {limits.cpu_seconds:g} s")
    if end.code == -signal.SIGKILL and end.stopped:
        return Outcome("error", detail="the interpreter closed its channel")
    if end.code in (OUT_OF_MEMORY, -signal.SIGKILL):
        return Outcome("over_limit", detail="memory")
    if end.code < 0:
        return Outcome("error", detail=f"the interpreter was ended by {signal.Signals(-end.code).name}")
    return Outcome("error", detail=f"the interpreter ended early, with exit code {end.code}")


def _first_line(channel: socket.socket) -> tuple[bytes, int | None]:
    """Return the guest's first line, and on Linux its process id. It sends nothing more before it has the task."""
    channel.settimeout(START_SECONDS)
    text, ancillary, _, _ = channel.recvmsg(CHUNK, socket.CMSG_SPACE(CREDENTIALS.size))
    return text.rstrip(b"\n"), CREDENTIALS.unpack(ancillary[0][2])[0] if ancillary else None


def _lines(channel: socket.socket, max_chars: int, seconds: float, candidate: int | None) -> Iterator[bytes]:
    """Yield lines as they arrive. A line over `max_chars` is replaced by an over_limit reply and ends the iteration.

    Raises TimeoutError after `seconds`. Time in which either side waits for a processor does not count: the verdict on
    a program must not depend on the load of the machine.
    """
    start, starved_before, allowed = time.monotonic(), _starved_seconds("thread-self"), seconds
    held = bytearray()
    while len(held) <= max_chars:
        if time.monotonic() >= start + allowed:
            starved = _starved_seconds(candidate) + _starved_seconds("thread-self") - starved_before
            if starved > STARVED_SECONDS:
                raise InfraError(f"the machine is too busy: a candidate waited {starved:.0f} s for a processor")
            if seconds + starved <= allowed:
                raise TimeoutError
            allowed = seconds + starved
        try:
            channel.settimeout(max(start + allowed - time.monotonic(), 0.001))
            chunk = channel.recv(CHUNK)
        except TimeoutError:
            chunk = None
        except ConnectionResetError:  # it died without reading its task
            return
        if chunk is None:  # the check above decides whether time is up
            continue
        if not chunk:
            return
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            yield bytes(held) + piece
            held.clear()
        held += rest
    yield b'{"status": "over_limit", "detail": "output"}'


def _starved_seconds(process: int | str | None) -> float:
    """Return how long a process was runnable but had no processor; 0 where the kernel does not report it."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    return 0.0
