"""The process that runs wasm guests, one at a time.

It reads requests from standard input and writes replies to standard output. A guest can call nothing outside itself.
If it escapes from wasmtime all the same, it is in a process that may open no file and make few system calls.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import wasmtime
from wasmtime import component

from r1kit.rewards.sandbox.native import kernel, landlock, seccomp
from r1kit.rewards.sandbox.wasm.engine import WASM_STACK, new_engine
from r1kit.rewards.sandbox.wire import END, LENGTH, REPLY, max_reply_chars

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


class Program(TypedDict):
    """What the guest receives with the first input."""

    mode: str
    source: str
    output_bytes: int


class Request(TypedDict):
    """One task, as the parent process sends it."""

    task: Program
    inputs: list[str]
    fuel: int
    memory_bytes: int


class Guest:
    """The compiled component. Each task runs in an instance of its own."""

    def __init__(self, path: Path, digest: str) -> None:
        """Load the component and find its export `answer`. Raises ValueError if it is not the one that was built."""
        # A .cwasm file is native code, so its digest is checked before it is loaded.
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise ValueError(f"{path} is not the file that was built")
        self.engine = new_engine()
        self.linker = component.Linker(self.engine)
        self.component = component.Component.deserialize_file(self.engine, str(path))
        if self.component.type.imports(self.engine):
            raise ValueError(f"{path} has imports")
        export = self.component.get_export_index("answer")
        if export is None:
            raise ValueError(f"{path} does not export `answer`")
        self.export = export

    def run(self, request: Request, emit: Callable[[str], None], end: Callable[[dict[str, object]], None]) -> None:
        """Pass each reply to `emit`, then to `end` the status of the remaining inputs and the fuel used."""
        store = wasmtime.Store(self.engine)
        try:
            store.set_limits(memory_size=request["memory_bytes"])
            store.set_fuel(request["fuel"])
            status, detail = self._run_inputs(store, request, emit)
            end({"status": status, "detail": detail, "fuel": request["fuel"] - store.get_fuel()})
        finally:
            store.close()  # a tenth of a small task's time, while the parent already continues

    def _run_inputs(self, store: wasmtime.Store, request: Request, emit: Callable[[str], None]) -> tuple[str, str]:
        max_chars = max_reply_chars(request["task"]["output_bytes"])
        try:
            answer = self.linker.instantiate(store, self.component).get_func(store, self.export)
            if answer is None:
                raise ValueError("the export `answer` is not a function")
            task = json.dumps(request["task"])
            for text in request["inputs"]:
                reply, task = answer(store, task, text), ""
                if len(reply) > max_chars:
                    return "over_limit", "output"
                emit(reply)
        except wasmtime.WasmtimeError as error:  # a trap: this instance is not used again
            if store.get_fuel() == 0:
                return "over_limit", "fuel"
            return "error", f"the interpreter stopped: {str(error).strip().splitlines()[-1].strip()}"
        return "ok", ""


def serve(guest: Guest) -> None:
    """Run requests until the parent closes the pipe."""
    while header := _read(LENGTH.size):
        request = json.loads(_read(*LENGTH.unpack(header)))
        guest.run(
            request,
            emit=lambda reply: _write(REPLY + reply.encode("utf-8", "replace")),
            end=lambda report: _write(END + json.dumps(report).encode()),
        )


def _read(size: int) -> bytes:
    """Return exactly `size` bytes of standard input, or none at its end."""
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
    """Confine this thread as far as this machine can, and return the names of the layers in force."""
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


def main(path: str, digest: str) -> None:
    """Load the component, confine this process, report the layers in force, and serve."""
    guest = Guest(Path(path), digest)
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # no core dump, and no other process of this user may trace it
    # Filters apply to the thread that installs them, so both threads install them. Guests need a larger stack than the
    # main thread's, whose size cannot be chosen here: they run in a second thread, and the main thread only waits.
    confined = threading.Event()

    def work() -> None:
        confined.wait()
        layers = confine()
        _write(END + json.dumps({"layers": layers}).encode())
        serve(guest)

    threading.stack_size(THREAD_STACK)
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    confine()
    confined.set()
    worker.join()
