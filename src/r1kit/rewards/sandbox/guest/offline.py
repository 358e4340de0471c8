"""Python without an operating system: in a component without imports, every system call would trap.

Files are not found, and processes and sockets do not exist. Time is virtual: it advances when it is read or slept
through, so that every run gives the same bits. Randomness without a seed starts from a fixed one.
"""

from __future__ import annotations

import errno
import os
import posix
import sys
import time
from importlib.machinery import BuiltinImporter, FrozenImporter
from types import BuiltinFunctionType, ModuleType
from typing import Any, NoReturn, cast

from r1kit.rewards.sandbox.guest.patch import patch

NEEDS_NO_SYSTEM = {"fspath", "getpid", "getcwd", "getcwdb", "strerror", "putenv", "unsetenv", "fstat"}
START_NS = 1_735_689_600 * 10**9  # 2025-01-01
READ_NS = 10_000  # duration of reading a clock, so that `while time() < end` terminates


class Clock:
    """Virtual time in nanoseconds."""

    now = START_NS

    @classmethod
    def read(cls, origin: int) -> int:
        """Return the time since `origin` and advance the clock by READ_NS."""
        cls.now += READ_NS
        return cls.now - origin

    @classmethod
    def sleep(cls, seconds: float) -> None:
        """Advance the clock, as a replacement of time.sleep."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        cls.now += int(seconds * 1e9)


class NothingElse:
    """The last import finder: a module that was not bundled raises an import error instead of a trap."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> NoReturn:
        """Raise ModuleNotFoundError."""
        raise ModuleNotFoundError(f"No module named {name!r} in the sandbox", name=name)


def absent(*_: Any, **__: Any) -> NoReturn:
    """Raise FileNotFoundError, in place of any function that needs the system."""
    raise FileNotFoundError(errno.ENOENT, "there are no files in the sandbox")


def install_virtual_time() -> None:
    """Make every clock read the virtual one. Call this first: other modules keep references to clocks."""
    for name, origin in {"time": 0, "monotonic": START_NS, "perf_counter": START_NS, "process_time": START_NS}.items():
        setattr(time, f"{name}_ns", lambda origin=origin: Clock.read(origin))
        setattr(time, name, lambda origin=origin: Clock.read(origin) / 1e9)
    gmtime, strftime, asctime = time.gmtime, time.strftime, time.asctime
    patch(time, sleep=Clock.sleep, thread_time=time.process_time)
    time.gmtime = time.localtime = lambda seconds=None: gmtime(time.time() if seconds is None else seconds)
    time.strftime = lambda form, at=None: strftime(form, at or time.gmtime())
    time.asctime = lambda at=None: asctime(at or time.gmtime())
    time.ctime = lambda seconds=None: asctime(time.gmtime(seconds))
    # The C types of datetime ask the system for the time, the Python ones ask `time`. None makes the C import fail.
    sys.modules.pop("datetime", None)
    sys.modules["_datetime"] = cast(ModuleType, None)


def seed_randomness() -> None:
    """Start `random` and everything that draws from os.urandom from one fixed seed."""
    import random

    reseed = random.Random.seed
    source = random.Random(0)
    patch(
        random.Random,
        seed=lambda self, a=None, version=2: reseed(self, source.getrandbits(64) if a is None else a, version),
    )
    patch(random, _urandom=source.randbytes, seed=random._inst.seed)
    os.urandom = source.randbytes
    random.seed(0)


def cut_off() -> None:
    """Remove imports of further modules, files and system calls. Call this last."""
    sys.maxsize = 2**63 - 1  # programs use it as infinity; here it is 2**31 - 1
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, NothingElse]
    sys.path_hooks.clear()
    sys.path.clear()
    for name, value in list(vars(posix).items()):
        if isinstance(value, BuiltinFunctionType) and name not in NEEDS_NO_SYSTEM:
            setattr(posix, name, absent)
            if getattr(os, name, None) is value:
                setattr(os, name, absent)
    # The interpreter itself opens a file to show the source line of a SyntaxError.
    sys.addaudithook(lambda event, arguments: absent() if event == "open" else None)
