"""The guest: runs an untrusted program on its inputs, inside the program's own interpreter. Used by every tier.

A candidate can reach everything here and so can spoil its own results; it cannot make a wrong one right, because what
is expected never comes in. The host takes what `Program.answer` returns as hostile text.
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
from typing import Any

from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.guest import gym
from r1kit.rewards.sandbox.guest.remote import Objects
from r1kit.rewards.sandbox.guest.testing import examine

DETAIL = 300  # characters
real_open, real_read, real_write = open, os.read, os.write


class OutputLimit(Exception):
    """The program printed more than it may."""


class _Input(io.BytesIO):
    def fileno(self) -> int:
        return 0


class _Nothing(io.BytesIO):
    """The null device, which no tier has: nothing comes out, and what goes in is gone."""

    def write(self, data: Any) -> int:
        return len(data)


class _Output(io.BytesIO):
    """What is printed; at most `room` bytes. Closing it does nothing, so that it can be read at the end."""

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
    """Standard input, output and error as a program finds them: text, `.buffer`, and descriptors 0, 1 and 2."""

    current: _Console
    spares: list[_Console] = []  # made ahead, because making one takes as long as running a small program

    def __init__(self) -> None:
        self.files = _Input(), _Output(1), _Output(2)
        self.streams = [io.TextIOWrapper(file, encoding="utf-8", errors="strict") for file in self.files]

    @classmethod
    def install(cls, text: str, room: int) -> _Console:
        """A new console, with `text` to be read and room for so many bytes to be printed."""
        console = cls.current = cls.spares.pop() if cls.spares else cls()
        given, *printed = console.files
        given.write(text.encode("utf-8", "surrogateescape"))
        given.seek(0)
        for file in printed:
            file.room = room
        sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = console.streams
        return console

    def printed(self) -> str:
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


def prepare() -> None:
    """Make this interpreter what a program expects, without threads, descriptors or a site module."""
    builtins.input, builtins.open, io.open = _input, _open, _open
    os.read, os.write, os._exit = _read, _write, _exit
    builtins.exit = builtins.quit = _exit
    threading.stack_size = lambda size=0: 0
    threading.Thread.start = lambda self: self.run()  # programs start one thread to get a deeper stack
    threading.Thread.join = lambda self, timeout=None: None
    threading.Thread.is_alive = lambda self: False
    sys.argv = ["main.py"]
    _Console.spares[:] = _Console(), _Console()  # a program that is loaded and called once needs two


class Program:
    """One task in a fresh interpreter: `answer` each of its inputs in order."""

    def __init__(self, mode: str, source: str, output_bytes: int) -> None:
        """In an interpreter that is prepared."""
        self.mode, self.source, self.room = mode, source, output_bytes
        self.fault: str | None = None  # the reply to every input, when the program itself does not load
        self.globals: dict[str, Any] = {}
        if mode in ("call", "expression"):
            reply = self._attempt("", self._load)
            self.fault = None if json.loads(reply)["status"] == "ok" else reply

    def answer(self, text: str) -> str:
        """The reply to one input: JSON with `status`, and the encoded `value` or a `detail`."""
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
        """Run the source as a new module of that name, and give its globals. Leaving with exit code 0 is no fault."""
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
        return f"{type(error).__name__}: {error}"[:DETAIL]
    except BaseException:  # a candidate's own exception may fail to describe itself
        return type(error).__name__[:DETAIL]
