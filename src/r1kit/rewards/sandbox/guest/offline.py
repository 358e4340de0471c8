"""A Python without a system: inside a component with no imports, every call to one would trap.

Files are not found, processes and sockets do not exist, time is virtual (it moves when it is read or slept through, so
a run gives the same bits everywhere), and randomness without a seed has a fixed one.
"""

from __future__ import annotations

import errno
import os
import posix
import sys
import time
from importlib.machinery import BuiltinImporter, FrozenImporter
from types import BuiltinFunctionType
from typing import Any, NoReturn

NEEDS_NO_SYSTEM = {"fspath", "getpid", "getcwd", "getcwdb", "strerror", "putenv", "unsetenv", "fstat"}
START_NS = 1_735_689_600 * 10**9  # 2025-01-01
READ_NS = 10_000  # what reading a clock takes, so that `while time() < end` comes to its end


class Clock:
    """Virtual nanoseconds."""

    now = START_NS

    @classmethod
    def read(cls, origin: int) -> int:
        cls.now += READ_NS
        return cls.now - origin

    @classmethod
    def sleep(cls, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        cls.now += int(seconds * 1e9)


class NothingElse:
    """The last finder: what was not bundled is an ImportError, not a trap."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> NoReturn:
        raise ModuleNotFoundError(f"No module named {name!r} in the sandbox", name=name)


def absent(*_: Any, **__: Any) -> NoReturn:
    raise FileNotFoundError(errno.ENOENT, "there are no files in the sandbox")


def virtual_time() -> None:
    """Every clock from the virtual one. Comes first, before other modules take hold of them."""
    for name, origin in {"time": 0, "monotonic": START_NS, "perf_counter": START_NS, "process_time": START_NS}.items():
        setattr(time, f"{name}_ns", lambda origin=origin: Clock.read(origin))
        setattr(time, name, lambda origin=origin: Clock.read(origin) / 1e9)
    gmtime, strftime, asctime = time.gmtime, time.strftime, time.asctime
    time.sleep, time.thread_time = Clock.sleep, time.process_time
    time.gmtime = time.localtime = lambda seconds=None: gmtime(time.time() if seconds is None else seconds)
    time.strftime = lambda form, at=None: strftime(form, at or time.gmtime())
    time.asctime = lambda at=None: asctime(at or time.gmtime())
    time.ctime = lambda seconds=None: asctime(time.gmtime(seconds))
    sys.modules.pop("datetime", None)
    sys.modules["_datetime"] = None  # the C types ask the system for the time; the Python ones ask `time`


def seeded_randomness() -> None:
    """`random` and all that draws from os.urandom, from one fixed seed."""
    import random

    reseed = random.Random.seed
    source = random.Random(0)
    random.Random.seed = lambda self, a=None, version=2: reseed(
        self, source.getrandbits(64) if a is None else a, version
    )
    os.urandom = random._urandom = source.randbytes
    random.seed = random._inst.seed
    random.seed(0)


def cut_off() -> None:
    """No module beyond those imported by now, no file, no system call. Comes last."""
    sys.maxsize = 2**63 - 1  # programs use it as infinity; 2**31 - 1 here
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, NothingElse]
    sys.path_hooks.clear()
    sys.path.clear()
    for name, value in list(vars(posix).items()):
        if isinstance(value, BuiltinFunctionType) and name not in NEEDS_NO_SYSTEM:
            setattr(posix, name, absent)
            if getattr(os, name, None) is value:
                setattr(os, name, absent)
    # "open" is also what the interpreter itself does to find the source line of a SyntaxError.
    sys.addaudithook(lambda event, arguments: absent() if event == "open" else None)
