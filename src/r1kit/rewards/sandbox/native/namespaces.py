"""Namespaces: hide the host's processes, mounts, networks and users from the fork server and its candidates.

The server keeps every capability inside its own user namespace, so that it can make a new process and mount namespace
for each candidate. A candidate keeps no capability. /proc is not mounted. See user_namespaces(7) and pivot_root(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Iterable

from r1kit.rewards.sandbox.native import kernel

HOST_NAME = "sandbox"
NOBODY = 65534
SCRATCH = "/tmp"  # a candidate's only writable directory; the new root is assembled there too
SCRATCH_OPTIONS = "size=16m,nr_inodes=256,mode=700"


def enter(visible: Iterable[str]) -> int:
    """Continue as process 1 of new namespaces whose read-only file system holds only `visible`.

    Returns in a child; the caller's process only waits for it. Root becomes nobody irrevocably, after the new root
    directory is assembled: an interpreter under root's home stays readable through it. Returns a descriptor of the own
    process namespace, for `fresh_processes`. Raises OSError where namespaces are not granted.
    """
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)  # /proc is not mounted in the new root
    visible = [*dict.fromkeys(visible)]
    if os.geteuid() == 0:
        kernel.call("unshare", kernel.CLONE_NEWNS)
        _build_root(visible)
        become_nobody()
        _new_namespaces(proc)
    else:
        _new_namespaces(proc)
        _build_root(visible)
    socket.sethostname(HOST_NAME)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    own = os.open("self/ns/pid", os.O_RDONLY, dir_fd=proc)
    os.close(proc)
    return own


def become_nobody() -> None:
    """Change from uid 0 to uid nobody irrevocably, and keep access to this process's entries in /proc."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


def fresh_processes(own: int) -> None:
    """Make the next fork process 1 of a new namespace.

    Returns to the namespace `own` first: a process namespace cannot be unshared twice.
    """
    kernel.call("setns", own, kernel.CLONE_NEWPID)
    kernel.call("unshare", kernel.CLONE_NEWPID)


def fresh_scratch(executable: bool = False) -> None:
    """Mount an empty, small, private directory at SCRATCH and make it the working directory."""
    kernel.call("unshare", kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | (0 if executable else kernel.MS_NOEXEC)
    kernel.mount("scratch", SCRATCH, "tmpfs", flags, SCRATCH_OPTIONS)
    os.chdir(SCRATCH)


def _new_namespaces(proc: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    kinds = kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
    kernel.call("unshare", kinds | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
    files = {"setgroups": "deny", "gid_map": f"{NOBODY} {gid} 1", "uid_map": f"{NOBODY} {uid} 1"}
    for name, text in files.items():
        handle = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        os.write(handle, text.encode())
        os.close(handle)


def _build_root(visible: list[str]) -> None:
    """Make a read-only file system of only the visible paths the root of this mount namespace."""
    real = {path: os.path.realpath(path) for path in visible if os.path.exists(path)}
    old = f"{SCRATCH}/old"
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("root", SCRATCH, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    os.mkdir(old)
    kernel.syscall(kernel.PIVOT_ROOT[kernel.MACHINE], SCRATCH.encode(), old.encode())
    os.chdir("/")
    for path, source in sorted(real.items()):
        if not os.path.lexists(path):  # else it lies inside a path that is already mounted
            os.makedirs(path if os.path.isdir("/old" + source) else os.path.dirname(path), exist_ok=True)
            if not os.path.isdir(path):
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            kernel.mount("/old" + source, path, None, kernel.MS_BIND | kernel.MS_REC)
    os.makedirs(SCRATCH, exist_ok=True)
    kernel.call("umount2", b"/old", kernel.MNT_DETACH)
    os.rmdir("/old")
    locked = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
    attributes = (ctypes.c_uint64 * 4)(locked, 0, 0, 0)  # struct mount_attr: set, clear, propagation, user namespace
    size = ctypes.sizeof(attributes)
    kernel.syscall(kernel.MOUNT_SETATTR, kernel.AT_FDCWD, b"/", kernel.AT_RECURSIVE, attributes, size)
