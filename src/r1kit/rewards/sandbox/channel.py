"""A task and its outcomes between a host and the interpreter of one candidate, over one socket.

Guest to host: READY once it is confined, then one reply a line. Host to guest: the task as JSON, then end of file.
Whatever arrives after READY is hostile: it is capped, decoded as data only, and can claim no infra_error.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from r1kit.rewards.sandbox.base import Execution, Limits, Outcome, Task
from r1kit.rewards.sandbox.guest import cpp
from r1kit.rewards.sandbox.guest.runner import Program, prepare
from r1kit.rewards.sandbox.wire import DETAIL, longest_reply, outcome

READY = b"ready"
NEARLY = 0.95  # of the CPU limit: the kernel that ends a process there counts in ticks, and reports more exactly
OUT_OF_MEMORY = 77  # exit code
WALL_SLACK = 0.3  # seconds of wall clock above the CPU limit
START_SECONDS, STARVED_SECONDS = 120.0, 120.0  # how long to wait for a candidate to start, and for a processor in all
CHUNK = 1 << 16
CREDENTIALS = struct.Struct("iII")  # pid, uid, gid
read, write, leave = os.read, os.write, os._exit  # the guest's interpreter will be given others


class Broken(Exception):
    """The sandbox's own machinery failed, whatever the candidate did."""


@dataclass(frozen=True)
class Ended:
    """How a candidate's process ended."""

    code: int  # exit code; -signal when killed
    cpu_seconds: float
    stopped: bool  # it was still running when the host had heard enough


def new_channel() -> tuple[socket.socket, socket.socket]:
    """The host's end, which on Linux learns the process id of who writes to it, and the guest's."""
    host, guest = socket.socketpair()
    if hasattr(socket, "SO_PASSCRED"):
        host.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return host, guest


def answer(descriptor: int) -> None:
    """The guest's side: run the task that `descriptor` brings, reply on it, and end this process."""
    try:
        write(descriptor, READY + b"\n")
        chunks = []
        while chunk := read(descriptor, CHUNK):
            chunks.append(chunk)
        task = json.loads(b"".join(chunks))
        if task["mode"] in ("compile", "library"):
            cpp.answer(descriptor, task)
        prepare()
        program = Program(task["mode"], task["source"], task["output_bytes"])
        for text in task["inputs"]:
            reply = memoryview(program.answer(text).encode() + b"\n")
            while reply:
                reply = reply[write(descriptor, reply) :]
        leave(0)
    except MemoryError:
        leave(OUT_OF_MEMORY)
    finally:
        leave(1)


def converse(channel: socket.socket, task: Task, limits: Limits) -> tuple[list[Outcome], bool]:
    """The host's side: the outcomes, one an input; fewer when the guest ends, one is over a limit or time is up (True).

    Broken or TimeoutError when the guest never was ready or hardly ever got a processor.
    """
    first, candidate = _first_line(channel)
    if first != READY:
        raise Broken(f"the candidate's process did not start: {first[:DETAIL].decode('utf-8', 'replace')}")
    message = {"mode": task.mode, "source": task.source, "inputs": task.inputs, "output_bytes": limits.output_bytes}
    lines = _lines(channel, longest_reply(limits.output_bytes), limits.cpu_seconds + WALL_SLACK, candidate)
    outcomes: list[Outcome] = []
    try:
        channel.settimeout(START_SECONDS)
        channel.sendall(json.dumps(message).encode())
        channel.shutdown(socket.SHUT_WR)
        while len(outcomes) < len(task.inputs) and not (outcomes and outcomes[-1].status == "over_limit"):
            outcomes.append(outcome(task.mode, next(lines).decode("utf-8", "replace"), limits.output_bytes))
    except (StopIteration, BrokenPipeError, ConnectionResetError):
        return outcomes, False  # how its process ended will say why
    except TimeoutError:
        return outcomes, True
    return outcomes, False


def complete(outcomes: list[Outcome], timed_out: bool, ended: Ended, task: Task, limits: Limits) -> Execution:
    """The outcomes as they came, and for the inputs that have none the way the process ended."""
    if outcomes and outcomes[-1].status == "over_limit":
        rest = outcomes[-1]
    elif timed_out:
        rest = Outcome("over_limit", detail=f"wall clock: {limits.cpu_seconds + WALL_SLACK:.1f} s")
    else:
        rest = _epitaph(ended, limits)
    return Execution((*outcomes, *(rest,) * (len(task.inputs) - len(outcomes))))


def _epitaph(ended: Ended, limits: Limits) -> Outcome:
    spent = ended.cpu_seconds >= NEARLY * limits.cpu_seconds
    if ended.code == -signal.SIGXCPU or (ended.code == -signal.SIGKILL and spent):
        return Outcome("over_limit", detail=f"CPU time: {limits.cpu_seconds:g} s")
    if ended.code == -signal.SIGKILL and ended.stopped:
        return Outcome("error", detail="the interpreter closed its channel")
    if ended.code in (OUT_OF_MEMORY, -signal.SIGKILL):  # nothing else kills it: the machine ran out of memory
        return Outcome("over_limit", detail="memory")
    if ended.code < 0:
        return Outcome("error", detail=f"the interpreter was ended by {signal.Signals(-ended.code).name}")
    return Outcome("error", detail=f"the interpreter ended early, with exit code {ended.code}")


def _first_line(channel: socket.socket) -> tuple[bytes, int | None]:
    """What the guest says first, which is all it says before it is sent a task, and its process id on Linux."""
    channel.settimeout(START_SECONDS)
    text, ancillary, _, _ = channel.recvmsg(CHUNK, socket.CMSG_SPACE(CREDENTIALS.size))
    return text.rstrip(b"\n"), CREDENTIALS.unpack(ancillary[0][2])[0] if ancillary else None


def _lines(channel: socket.socket, longest: int, seconds: float, candidate: int | None) -> Iterator[bytes]:
    """Lines as they arrive. One longer than `longest` comes out as an over_limit reply, and is the last.

    TimeoutError after `seconds`, in which the time that either side waited for a processor does not count: what a
    program is worth must not depend on how busy the machine is.
    """
    start, earlier, allowed = time.monotonic(), _starved_seconds("thread-self"), seconds
    held = bytearray()
    while len(held) <= longest:
        if time.monotonic() >= start + allowed:
            starved = _starved_seconds(candidate) + _starved_seconds("thread-self") - earlier
            if starved > STARVED_SECONDS:
                raise Broken(f"the machine is too busy: a candidate waited {starved:.0f} s for a processor")
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
        if chunk is None:  # whether time is up is decided above
            continue
        if not chunk:
            return
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            yield bytes(held) + piece
            held.clear()
        held += rest
    yield b'{"status": "over_limit", "detail": "output"}'


def _starved_seconds(process: int | str | None) -> float:
    """How long a process was ready to run and had to wait for a processor; 0 where the kernel does not tell."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    return 0.0
