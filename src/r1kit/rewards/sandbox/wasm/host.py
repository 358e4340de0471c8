"""The process that runs guests, one at a time.

It takes requests on standard input and gives replies on standard output; the guest inside it can call nothing at all.
Should a guest break out of wasmtime all the same, it finds a process that may open no file and make few system calls.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import component

from r1kit.rewards.sandbox import kernel, landlock, seccomp
from r1kit.rewards.sandbox.wasm.engine import WASM_STACK, new_engine
from r1kit.rewards.sandbox.wire import END, LENGTH, REPLY, longest_reply

THREAD_STACK = 4 * WASM_STACK
# No file, no socket, no process, and no memory that becomes executable.
NOT_EXECUTABLE = {2: (0, 1, 2, 3)}
PROFILE = seccomp.Profile(
    frozenset(
        """read write mmap munmap mremap mprotect madvise brk futex clock_gettime getrandom getpid gettid sched_yield
        rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack rseq restart_syscall membarrier exit exit_group""".split()
    ),
    {"mmap": NOT_EXECUTABLE, "mprotect": NOT_EXECUTABLE},
)


class Guests:
    """The compiled components, from which each task gets an instance of its own."""

    def __init__(self, directory: Path, digests: dict[str, str]) -> None:
        self.engine = new_engine()
        self.linker = component.Linker(self.engine)
        self.components = {file: self._load(directory / file, digest) for file, digest in digests.items()}

    def _load(self, path: Path, digest: str) -> component.Component:
        # A .cwasm is native code: none is loaded but the one that was built here.
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise ValueError(f"{path} is not the file that was built")
        loaded = component.Component.deserialize_file(self.engine, str(path))
        if loaded.type.imports(self.engine):
            raise ValueError(f"{path} has imports")
        return loaded

    def run(self, request: dict[str, Any], emit: Callable[[str], None], end: Callable[[dict[str, Any]], None]) -> None:
        """Give each reply to `emit`, then `end` how the task ended, if before its last input, and the fuel it used."""
        store = wasmtime.Store(self.engine)
        try:
            store.set_limits(memory_size=request["memory_bytes"])
            store.set_fuel(request["fuel"])
            status, detail = self._converse(store, request, emit)
            end({"status": status, "detail": detail, "fuel": request["fuel"] - store.get_fuel()})
        finally:
            store.close()  # a tenth of a small task's time, while its caller already goes on

    def _converse(self, store: wasmtime.Store, request: dict[str, Any], emit: Callable[[str], None]) -> tuple[str, str]:
        longest = longest_reply(request["task"]["output_bytes"])
        try:
            guest = self.components[_guest(request["task"])]
            answer = self.linker.instantiate(store, guest).get_func(store, guest.get_export_index("answer"))
            task = json.dumps(request["task"])
            for text in request["inputs"]:
                reply, task = answer(store, task, text), ""
                if len(reply) > longest:
                    return "over_limit", "output"
                emit(reply)
        except wasmtime.WasmtimeError as error:  # a trap: nothing of this instance is used again
            if store.get_fuel() == 0:
                return "over_limit", "fuel"
            return "error", f"the interpreter stopped: {str(error).strip().splitlines()[-1].strip()}"
        return "ok", ""


def _guest(task: dict[str, Any]) -> str:
    """The component for a task: the small one, unless it may want what that lacks."""
    wants_sympy = task["mode"] == "symbolic" or "sympy" in task["source"] or "mpmath" in task["source"]
    return "sympy.cwasm" if wants_sympy else "plain.cwasm"


def serve(guests: Guests) -> None:
    """Requests until the parent closes the pipe."""
    while header := _read(LENGTH.size):
        request = json.loads(_read(*LENGTH.unpack(header)))
        guests.run(
            request,
            emit=lambda reply: _write(REPLY + reply.encode("utf-8", "replace")),
            end=lambda ended: _write(END + json.dumps(ended).encode()),
        )


def _read(size: int) -> bytes:
    """Exactly `size` bytes of standard input; empty at its end."""
    data = bytearray()
    while len(data) < size:
        if not (chunk := os.read(0, size - len(data))):
            return b""
        data += chunk
    return bytes(data)


def _write(frame: bytes) -> None:
    rest = memoryview(LENGTH.pack(len(frame)) + frame)
    while rest:
        rest = rest[os.write(1, rest) :]


def confine() -> list[str]:
    """Shut this thread off from the system as far as this machine can; the names of what is in force."""
    layers = []
    if sys.platform == "linux":
        kernel.drop_capabilities()
    if landlock.abi():
        landlock.restrict()
        layers.append("landlock")
    if sys.platform == "linux" and kernel.MACHINE in seccomp.ARCHITECTURES:
        seccomp.install(PROFILE)
        layers.append("seccomp")
    return layers


def main(directory: str, digests: str) -> None:
    guests = Guests(Path(directory), json.loads(digests))
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # no other process of this user looks into it, no core is written
    # Filters hold for the thread that installs them, so this one, which only waits, gets them too. It runs no guest
    # because its stack is not ours to choose.
    confined = threading.Event()

    def work() -> None:
        confined.wait()
        layers = confine()
        _write(END + json.dumps({"layers": layers}).encode())
        serve(guests)

    threading.stack_size(THREAD_STACK)
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    confine()
    confined.set()
    worker.join()
