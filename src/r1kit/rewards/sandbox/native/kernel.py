"""Linux system calls that Python does not offer, through ctypes. Each raises OSError with its name when it fails."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

Argument: TypeAlias = "int | bytes | ctypes.Array[Any] | ctypes.Structure | None"

PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# Newer system calls have the same number on every architecture.
CLOSE_RANGE, MOUNT_SETATTR = 436, 442
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x1000_0000, 0x2000_0000, 0x4000_0000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 1 << 12, 1 << 14, 1 << 18
MNT_DETACH, AT_FDCWD, AT_RECURSIVE = 2, -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CAPABILITY_VERSION_3, LAST_CAPABILITY = 0x20080522, 63

MACHINE = platform.machine()
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def call(name: str, *arguments: Argument) -> int:
    """Call a function of the C library and return its result. A negative result raises OSError."""
    result = _function(name)(*map(_converted, arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: Argument) -> int:
    """Make the system call with this number."""
    return call("syscall", number, *arguments)


def prctl(option: int, *values: int) -> None:
    """Set an attribute of this process or thread."""
    call("prctl", option, *values, *(0,) * (4 - len(values)))


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount `source` at `target`, or change the mount there. kind: the type of file system."""
    encoded_kind, encoded_options = (None if text is None else text.encode() for text in (kind, options))
    call("mount", source.encode(), target.encode(), encoded_kind, flags, encoded_options)


def close_descriptors(first: int) -> None:
    """Close every descriptor from `first` up, however high its number."""
    syscall(CLOSE_RANGE, first, 0xFFFF_FFFF, 0)


def drop_capabilities() -> None:
    """Drop every capability irrevocably, for this process and its children, set-uid programs included."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    unchecked_prctl = _function("prctl")
    for capability in range(LAST_CAPABILITY + 1):
        # Fails without CAP_SETPCAP and for numbers this kernel lacks: in both cases there is nothing to drop.
        unchecked_prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, no_capabilities = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    call("capset", header, no_capabilities)


def _function(name: str) -> Callable[..., int]:
    """Return a function of the C library, which is loaded on Linux only."""
    function: Callable[..., int] = getattr(LIBC, name)
    return function


def _converted(value: Argument) -> object:
    if isinstance(value, ctypes.Array | ctypes.Structure):
        return ctypes.byref(value)
    return ctypes.c_long(value) if isinstance(value, int) else value
