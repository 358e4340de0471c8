"""The fork server: a warm interpreter that forks, confines and supervises one process for each candidate.

It runs in a process of its own with an empty environment and never sees a candidate's program or values. Those go over
a socket that the host passes in and the fork inherits, so a candidate finds nothing of another one in its memory.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import math
import os
import platform
import resource
import select
import signal
import socket
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import r1kit
from r1kit.rewards.sandbox import guest
from r1kit.rewards.sandbox.base import NO_CPP
from r1kit.rewards.sandbox.guest.task import leave, run_task
from r1kit.rewards.sandbox.native import kernel, landlock, namespaces, seccomp
from r1kit.rewards.sandbox.native.modes import OWN_SERVER

# What programs import most, loaded before the fork. The rest of the standard library is read from disk on import.
STANDARD = """abc argparse array ast base64 binascii bisect builtins calendar cmath collections contextlib copy csv
ctypes dataclasses datetime decimal difflib enum fractions functools hashlib heapq inspect io itertools json locale
logging math numbers operator pprint queue random re secrets statistics string struct sys tempfile textwrap threading
time timeit traceback types typing unicodedata unittest uuid zlib zoneinfo""".split()
GUEST = ["r1kit.rewards.sandbox.guest.leetcode", "r1kit.rewards.sandbox.guest.modules"]
NUMPY = ["numpy", "numpy.random", "numpy.fft", "numpy.ma", "numpy.polynomial"]
SYSTEM = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"]
TOOLCHAIN = ["/usr/bin", "/bin", "/usr/include", "/usr/local/include", "/usr/libexec"]  # compilers see these and SYSTEM
COMPILER_PROCESSES = 16
ENDING_MS = 20  # for a candidate that has closed its channel to end by itself, so that its exit code counts
FILE_BYTES, STACK_BYTES, DESCRIPTORS = 16 << 20, 64 << 20, 64
CHANNEL = 0  # a candidate's descriptor to the host; 1 and 2 are /dev/null and there are no others


def main(descriptor: int, tier: str, mode: str) -> None:
    """Serve the host at the other end of `descriptor` until it closes. mode: of OWN_SERVER, or "" for programs."""
    control = socket.socket(fileno=descriptor)
    try:
        server = Server.start(control, tier == "namespaces", mode)
    except (OSError, ImportError) as error:
        control.send(json.dumps({"error": str(error)}).encode())
        raise SystemExit(1) from error
    control.send(b"{}")
    server.serve()


@dataclass(frozen=True)
class Server:
    """A loaded and confined interpreter that forks candidates on request."""

    control: socket.socket
    library: tuple[str, ...]  # paths that a candidate may read
    program_bytes: int  # address space used before a candidate's first line
    own_processes: int | None  # descriptor of the own process namespace; None in the tier landlock
    mode: str

    @staticmethod
    def start(control: socket.socket, namespaced: bool, mode: str) -> Server:
        """Load the modules of the mode and confine this process. Raises OSError or ImportError."""
        preload(mode)
        readable = library() + tuple(TOOLCHAIN) * (mode == "compile")
        with open("/proc/self/statm") as sizes:
            program_bytes = int(sizes.read().split()[0]) * resource.getpagesize()
        if mode in ("compile", "library") and not namespaced:
            raise OSError(NO_CPP)
        if namespaced:
            own = namespaces.enter(readable)
        else:
            own = None
            if landlock.abi() < 3:
                raise OSError(f"Landlock ABI 3 (Linux 6.2) is needed, this kernel has {landlock.abi() or 'none'}")
            if os.geteuid() == 0 and all(map(reachable_by_all, readable)):
                namespaces.become_nobody()
            hide_host_name()
        gc.collect()
        gc.freeze()  # keeps these pages shared between the forks
        return Server(control, readable, program_bytes, own, mode)

    def serve(self) -> None:
        """Run one candidate per request until the host closes the control socket."""
        while True:
            message, descriptors, _, _ = socket.recv_fds(self.control, 4096, 1)
            if not message:
                return
            if descriptors:  # else: a stop request for a candidate that had already ended
                report = self.run(descriptors[0], **json.loads(message))
                with contextlib.suppress(BrokenPipeError):  # the host is gone: the next read ends the loop
                    self.control.send(json.dumps(report).encode())

    def run(self, channel: int, cpu_seconds: float, memory_bytes: int) -> dict[str, object]:
        """Fork one candidate and wait for its end. It is killed when the host sends anything or disconnects."""
        if self.own_processes is not None:
            namespaces.fresh_processes(self.own_processes)
        child = os.fork()
        if child == 0:
            try:
                self.candidate(channel, cpu_seconds, memory_bytes)
            finally:
                leave(1)
        os.close(channel)
        poll = select.poll()
        for descriptor in (handle := os.pidfd_open(child), self.control.fileno()):
            poll.register(descriptor, select.POLLIN)
        ended = [descriptor for descriptor, _ in poll.poll()]
        poll.unregister(self.control.fileno())
        stopped = handle not in ended and not poll.poll(ENDING_MS)
        if stopped:
            os.kill(child, signal.SIGKILL)  # with namespaces it is process 1, so all its processes die with it
        os.close(handle)
        _, status, usage = os.wait4(child, 0)
        cpu_used = usage.ru_utime + usage.ru_stime
        return {"code": os.waitstatus_to_exitcode(status), "cpu_seconds": cpu_used, "stopped": stopped}

    def candidate(self, channel: int, cpu_seconds: float, memory_bytes: int) -> None:
        """In the fork: drop all privileges, then run the task. On any failure report it and run nothing."""
        try:
            os.dup2(0, 1)
            os.dup2(0, 2)
            os.dup2(channel, CHANNEL)
            kernel.close_descriptors(3)
            if self.own_processes is not None:
                namespaces.fresh_scratch(executable=self.mode == "library")
            kernel.drop_capabilities()
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            compiles = self.mode == "compile"
            limit(cpu_seconds, self.program_bytes + memory_bytes, COMPILER_PROCESSES if compiles else 0)
            if landlock.abi():
                scratch = () if self.own_processes is None else (namespaces.SCRATCH,)
                landlock.restrict(self.library, scratch, execute=(*SYSTEM, *TOOLCHAIN) if compiles else ())
            interpreter = seccomp.INTERPRETER if self.own_processes is not None else seccomp.NAMELESS
            seccomp.install(seccomp.COMPILER if compiles else interpreter)
        except OSError as error:
            os.write(CHANNEL, f"{error}\n".encode())
            leave(1)
        run_task(CHANNEL)


def preload(mode: str) -> None:
    """Import what candidates will import, clear the environment, and leave only the standard library on sys.path."""
    programs = STANDARD + GUEST + NUMPY * (importlib.util.find_spec("numpy") is not None)
    for name in OWN_SERVER.get(mode, programs):
        importlib.import_module(name)
    os.environ.clear()
    vars(platform).update(_uname_cache=None)  # it may hold the machine's name
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    sys.path[:] = [path for path in sys.path if path in standard or os.path.dirname(path) in standard]
    sys.path[:] = [path for path in sys.path if os.path.basename(path) not in ("site-packages", "dist-packages")]


def hide_host_name() -> None:
    """Replace the functions that return the machine's name. Without namespaces programs may not ask the kernel."""
    host = os.uname()
    sandbox = os.uname_result((host.sysname, namespaces.HOST_NAME, *host[2:]))
    os.uname = lambda: sandbox
    socket.gethostname = lambda: namespaces.HOST_NAME


def library() -> tuple[str, ...]:
    """Return the paths of the interpreter's library, the packages loaded now, and the shared libraries of both."""
    loaded = [module for name, module in [*sys.modules.items()] if "." not in name]
    packages = [path for module in loaded for path in list(getattr(module, "__path__", ()))[:1]]
    bundled = [f"{package}.libs" for package in packages]  # where wheels put their shared libraries
    paths = [f"{sys.base_prefix}/lib", *SYSTEM, *packages, *bundled, *guest.__path__]
    own = os.path.dirname(r1kit.__file__)
    return tuple(path for path in dict.fromkeys(paths) if os.path.exists(path) and path != own)


def reachable_by_all(path: str) -> bool:
    """Return whether every user may enter every directory above `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in Path(path).resolve().parents)


def limit(cpu_seconds: float, address_space: int, processes: int = 0) -> None:
    """Set hard limits equal to the soft ones: process 1 of a namespace ignores the signal of a soft limit."""
    limits = {
        "CPU": math.ceil(cpu_seconds),
        "AS": address_space,
        "STACK": STACK_BYTES,
        "FSIZE": FILE_BYTES,
        "NOFILE": DESCRIPTORS,
        "NPROC": processes,
        **dict.fromkeys(("CORE", "MEMLOCK", "MSGQUEUE"), 0),
    }
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
