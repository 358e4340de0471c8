"""Landlock: this process, and what it becomes, may touch the named paths of the file system and nothing else.

Needs no privilege and cannot be undone. It governs opening, listing and changing files, TCP ports, and (newer kernels)
signals and abstract sockets; not `stat`, nor descriptors that are already open. docs.kernel.org/userspace-api/landlock
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable

from r1kit.rewards.sandbox import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE = 1 << 13, 1 << 14
READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE  # what a rule on something that is no directory may grant
HANDLED_FS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # since which ABI
HANDLED_NET = {4: 0b11}  # bind, connect
SCOPED = {6: 0b11}  # abstract unix sockets, signals: within the same domain only
CREATE_RULESET_VERSION, RULE_PATH_BENEATH = 1, 1


class _Ruleset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("handled_access_fs", "handled_access_net", "scoped")]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def abi() -> int:
    """The version of Landlock that this kernel speaks; 0 where there is none or it is switched off."""
    if kernel.LIBC is None:
        return 0
    try:
        return kernel.syscall(kernel.LANDLOCK_CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):  # EPERM: an outer seccomp filter
            return 0
        raise


def restrict(read: Iterable[str] = (), write: Iterable[str] = (), execute: Iterable[str] = ()) -> int:
    """Allow reading beneath `read`, changing files too beneath `write`, running them beneath `execute`; deny the rest.

    Paths that do not exist are passed over. Returns the ABI in force; OSError where the kernel has none.
    """
    version = abi()
    handled = _newest(HANDLED_FS, version)
    ruleset = _Ruleset(handled, _newest(HANDLED_NET, version), _newest(SCOPED, version))
    size = 24 if version >= 6 else 16 if version >= 4 else 8  # bytes of the structure that this kernel knows
    handle = kernel.syscall(kernel.LANDLOCK_CREATE_RULESET, ruleset, size, 0)
    try:
        for paths, rights in ((read, READ), (write, WRITE), (execute, READ | EXECUTE)):
            for path in filter(os.path.exists, paths):
                _allow(handle, path, rights & handled)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.syscall(kernel.LANDLOCK_RESTRICT_SELF, handle, 0)
    finally:
        os.close(handle)
    return version


def _allow(ruleset: int, path: str, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(rights if os.path.isdir(path) else rights & OF_A_FILE, beneath)
        kernel.syscall(kernel.LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)


def _newest(since: dict[int, int], version: int) -> int:
    return max((mask for needs, mask in since.items() if needs <= version), default=0)
