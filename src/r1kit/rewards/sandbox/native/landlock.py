"""Landlock: restrict this process and its children to named paths of the file system.

Needs no privilege and cannot be undone. It governs opening, listing and changing files, TCP ports, and on newer kernels
signals and abstract sockets. It governs neither `stat` nor descriptors that are already open.
See https://docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable

from r1kit.rewards.sandbox.native import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE = 1 << 13, 1 << 14
READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE  # all that a rule on a file, not a directory, may grant
# ABI version -> mask of the rights that kernels from that version on can restrict
HANDLED_FS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
HANDLED_NET = {4: 0b11}  # bind, connect
SCOPED = {6: 0b11}  # abstract unix sockets and signals, confined to the same domain
CREATE_RULESET_VERSION, RULE_PATH_BENEATH = 1, 1


class _Ruleset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("handled_access_fs", "handled_access_net", "scoped")]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def abi() -> int:
    """Return the version of Landlock in this kernel, or 0 where it is missing or disabled."""
    if kernel.LIBC is None:
        return 0
    try:
        return kernel.syscall(kernel.LANDLOCK_CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):  # EPERM: an outer seccomp filter
            return 0
        raise


def restrict(read: Iterable[str] = (), write: Iterable[str] = (), execute: Iterable[str] = ()) -> int:
    """Allow reading beneath `read`, also changing beneath `write`, also executing beneath `execute`; deny the rest.

    Paths that do not exist are skipped. Returns the ABI version in force. Raises OSError where the kernel has none.
    """
    version = abi()
    handled = _supported(HANDLED_FS, version)
    ruleset = _Ruleset(handled, _supported(HANDLED_NET, version), _supported(SCOPED, version))
    size = 24 if version >= 6 else 16 if version >= 4 else 8  # size of the structure in this version
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
        rule = _PathBeneath(rights if os.path.isdir(path) else rights & FILE_RIGHTS, beneath)
        kernel.syscall(kernel.LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)


def _supported(masks: dict[int, int], version: int) -> int:
    return max((mask for needed, mask in masks.items() if needed <= version), default=0)
