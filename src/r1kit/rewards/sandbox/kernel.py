"""Linux system calls that Python does not offer, through ctypes. Each raises OSError, naming itself, when it fails."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# Younger calls have one number on every architecture.
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


def call(name: str, *arguments: int | bytes | None | ctypes.Array | ctypes.Structure) -> int:
    """A function of the C library; its result, which is negative only when it failed: then OSError."""
    result = getattr(LIBC, name)(*map(_argument, arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: int | bytes | None | ctypes.Array | ctypes.Structure) -> int:
    return call("syscall", number, *arguments)


def prctl(option: int, *values: int) -> None:
    call("prctl", option, *values, *(0,) * (4 - len(values)))


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    call("mount", source.encode(), target.encode(), kind and kind.encode(), flags, options and options.encode())


def close_descriptors(first: int) -> None:
    """Close every descriptor from `first` up, however high its number."""
    syscall(CLOSE_RANGE, first, 0xFFFF_FFFF, 0)


def drop_capabilities() -> None:
    """No capability now, none ever again in this process or its children, nor by running a set-uid program."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(LAST_CAPABILITY + 1):
        # Refused without CAP_SETPCAP and for numbers this kernel lacks: nothing is there to be dropped then.
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, nothing = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    call("capset", header, nothing)


def _argument(value: int | bytes | None | ctypes.Array | ctypes.Structure) -> object:
    if isinstance(value, ctypes.Array | ctypes.Structure):
        return ctypes.byref(value)
    return ctypes.c_long(value) if isinstance(value, int) else value
