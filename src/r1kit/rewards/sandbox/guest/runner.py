"""The guest: runs an untrusted program on its inputs, inside the program's own interpreter. Used by every tier.

A candidate can reach everything here, so it can spoil its own results. It cannot make a wrong result right, because
expected values never enter this interpreter. The host treats what `Program.answer` returns as hostile text.
"""

from __future__ import annotations

import atexit
import builtins
import io
import json
import os
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, ClassVar

from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.guest import gym
from r1kit.rewards.sandbox.guest.patch import patch
from r1kit.rewards.sandbox.guest.remote import Objects
from r1kit.rewards.sandbox.guest.testing import examine

DETAIL_CHARS = 300
real_open, real_read, real_write = open, os.read, os.write


class OutputLimit(Exception):
    """The program printed more than its limit."""


class _Input(io.BytesIO):
    def fileno(self) -> int:
        return 0


class _Nothing(io.BytesIO):
    """The null device, which no tier has: reads are empty and writes are discarded."""

    def write(self, data: Any) -> int:
        return len(data)


class _Output(io.BytesIO):
    """Printed bytes, at most `room`. Closing does nothing, so that the content can be read at the end."""

    def __init__(self, descriptor: int) -> None:
        self.room, self.descriptor, self.full = 0, descriptor, False
        super().__init__()

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            self.full = True
            raise OutputLimit
        return super().write(data)

    def fileno(self) -> int:
        return self.descriptor

    def close(self) -> None:
        return None


class _Console:
    """Standard input, output and error of a program: as text, as `.buffer`, and as descriptors 0, 1 and 2."""

    current: _Console
    spares: ClassVar[
        list[_Console]
    ] = []  # made in advance, because making one takes as long as running a small program

    def __init__(self) -> None:
        self.files = _Input(), _Output(1), _Output(2)
        self.streams = [io.TextIOWrapper(file, encoding="utf-8", errors="strict") for file in self.files]

    @classmethod
    def install(cls, text: str, room: int) -> _Console:
        """Make a new console current, with `text` as input and room for `room` bytes of each output."""
        console = cls.current = cls.spares.pop() if cls.spares else cls()
        given, output, errors = console.files
        given.write(text.encode("utf-8", "surrogateescape"))
        given.seek(0)
        output.room = errors.room = room
        stdin, stdout, stderr = sys.stdin, sys.stdout, sys.stderr = console.streams
        vars(sys).update(__stdin__=stdin, __stdout__=stdout, __stderr__=stderr)
        return console

    def printed(self) -> str:
        """Return what was printed to standard output; OutputLimit if either output is full."""
        self.streams[1].flush()
        if self.files[1].full or self.files[2].full:
            raise OutputLimit
        return self.files[1].getvalue().decode("utf-8", "replace")


def _input(prompt: object = "") -> str:
    print(prompt, end="")
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    return line.removesuffix("\n")


def _open(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
    if file == os.devnull:
        return _Nothing() if "b" in mode else io.TextIOWrapper(_Nothing(), encoding="utf-8")
    if file in ("/dev/stdin", "/dev/stdout"):
        file = ("/dev/stdin", "/dev/stdout").index(file)
    if type(file) is int and file in (0, 1, 2):
        return _Console.current.files[file] if "b" in mode else _Console.current.streams[file]
    return real_open(file, mode, *rest, **named)


def _read(descriptor: int, size: int) -> bytes:
    return _Console.current.files[0].read(size) if descriptor == 0 else real_read(descriptor, size)


def _write(descriptor: int, data: Any) -> int:
    return _Console.current.files[descriptor].write(data) if descriptor in (1, 2) else real_write(descriptor, data)


def _exit(code: object = 0) -> None:
    raise SystemExit(code)


def current_console() -> object:
    """Return the console of the last run, for callers that must keep it alive."""
    return _Console.current


def prepare() -> None:
    """Replace the functions that would need threads, descriptors or the site module."""
    patch(builtins, input=_input, open=_open, exit=_exit, quit=_exit)
    patch(io, open=_open)
    patch(os, read=_read, write=_write, _exit=_exit)
    patch(threading, stack_size=lambda size=0: 0)
    patch(
        threading.Thread,
        start=lambda self: self.run(),  # programs start one thread to get a deeper stack
        join=lambda self, timeout=None: None,
        is_alive=lambda self: False,
    )
    sys.argv = ["main.py"]
    sys.set_int_max_str_digits(0)  # the limits of the task bound the time of conversions
    _Console.spares[:] = _Console(), _Console()  # a program that is loaded and called once needs two


class Program:
    """One task in a fresh interpreter; `prepare` comes first. Call `answer` for each input, in order."""

    def __init__(self, mode: str, source: str, output_bytes: int) -> None:
        self.mode, self.source, self.room = mode, source, output_bytes
        self.fault: str | None = None  # the reply to every input if the program itself does not load
        self.globals: dict[str, Any] = {}
        if mode in ("call", "expression"):
            reply = self._attempt("", self._load)
            self.fault = None if json.loads(reply)["status"] == "ok" else reply

    def answer(self, text: str) -> str:
        """Return the reply to one input: JSON with `status` and the encoded `value` or a `detail`."""
        if self.fault is not None:
            return self.fault
        if self.mode == "stdin":
            return self._attempt(text, self._run_main)
        if self.mode == "call":
            return self._attempt("", lambda console: self.objects.call(text))
        action = {"expression": self._evaluate, "symbolic": _equal, "tests": examine, "gym": gym.score}[self.mode]
        return self._attempt("", lambda console: action(text))

    def _attempt(self, stdin: str, action: Callable[[_Console], Any]) -> str:
        console = _Console.install(stdin, self.room)
        status, detail = "ok", ""
        try:
            value = codec.encode(action(console))
            console.printed()
            text = json.dumps({"status": "ok", "value": value})
            self.room -= len(text)
            return text
        except (MemoryError, OutputLimit) as error:
            status, detail = "over_limit", "memory" if isinstance(error, MemoryError) else "output"
        except BaseException as error:
            status, detail = "error", _describe(error)
        return json.dumps({"status": status, "detail": detail})

    def _execute(self, name: str) -> dict[str, Any]:
        """Run the source as a new module of that name and return its globals. Exit code 0 is not an error."""
        module = types.ModuleType(name)
        module.__dict__["__builtins__"] = builtins
        sys.modules[name] = module
        try:
            exec(compile(self.source, "main.py", "exec"), module.__dict__)
        except SystemExit as stop:
            if stop.code not in (None, 0):
                raise
        return module.__dict__

    def _load(self, console: _Console) -> None:
        self.globals = self._execute("solution")
        self.objects = Objects(self.globals)

    def _run_main(self, console: _Console) -> str:
        atexit._clear()
        self._execute("__main__")
        atexit._run_exitfuncs()
        return console.printed()

    def _evaluate(self, text: str) -> Any:
        return eval(compile(text.strip(), "test", "eval"), self.globals)


def _equal(text: str) -> bool | None:
    from r1kit.rewards.math.sympy_guest import equal

    gold, answer = json.loads(text)
    return equal(gold, answer)


def _describe(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:DETAIL_CHARS]
    except BaseException:  # a candidate's own exception may fail to describe itself
        return type(error).__name__[:DETAIL_CHARS]
