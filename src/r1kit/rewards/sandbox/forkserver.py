"""The fork server: a warm interpreter that forks, confines and supervises one process for each candidate.

Runs in a process of its own with an empty environment. It never sees a candidate's program or values: those go over a
socket that the host passes in and the fork takes along, so one candidate finds nothing of another in its memory.
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
from r1kit.rewards.sandbox import guest, kernel, landlock, namespaces, seccomp
from r1kit.rewards.sandbox.base import NO_CPP
from r1kit.rewards.sandbox.channel import answer, leave

# What programs import, ready in every candidate; the rest of the standard library is read from disk when asked for.
STANDARD = """abc argparse array ast base64 binascii bisect builtins calendar cmath collections contextlib copy csv
ctypes dataclasses datetime decimal difflib enum fractions functools hashlib heapq inspect io itertools json locale
logging math numbers operator pprint queue random re secrets statistics string struct sys tempfile textwrap threading
time timeit traceback types typing unicodedata unittest uuid zlib zoneinfo""".split()
GUEST = ["r1kit.rewards.sandbox.guest.leetcode"]
NUMPY = ["numpy", "numpy.random", "numpy.fft", "numpy.ma", "numpy.polynomial"]
# What these need instead.
OTHER_MODES = {"symbolic": ["r1kit.rewards.math.sympy_guest"], "gym": ["reasoning_gym"], "compile": [], "library": []}
TOOLCHAIN = ["/usr/bin", "/bin", "/usr/include", "/usr/local/include", "/usr/libexec"]  # beside SYSTEM, for compilers
COMPILER_PROCESSES = 16
SYSTEM = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"]
FILE_BYTES, STACK_BYTES, DESCRIPTORS = 16 << 20, 64 << 20, 64
CHANNEL = 0  # a candidate's descriptor to the host; 1 and 2 are /dev/null, and there is no other


def main(descriptor: int, tier: str, mode: str) -> None:
    """Serve the host at the other end of `descriptor` until it closes it. mode: of OTHER_MODES, or "" for programs."""
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
    control: socket.socket
    library: tuple[str, ...]  # what a candidate may read
    program_bytes: int  # of address space, before a candidate's first line
    own_processes: int | None  # descriptor of the own process namespace; None in the tier without namespaces
    mode: str

    @staticmethod
    def start(control: socket.socket, namespaced: bool, mode: str) -> Server:
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
            hide_host()
        gc.collect()
        gc.freeze()  # shared with every fork for as long as possible
        return Server(control, readable, program_bytes, own, mode)

    def serve(self) -> None:
        while True:
            message, descriptors, _, _ = socket.recv_fds(self.control, 4096, 1)
            if not message:
                return
            if descriptors:  # none: a wish to stop a candidate that had just ended
                report = self.run(descriptors[0], **json.loads(message))
                with contextlib.suppress(BrokenPipeError):  # the host is gone: the next read says so too
                    self.control.send(json.dumps(report).encode())

    def run(self, channel: int, cpu_seconds: float, memory_bytes: int) -> dict[str, object]:
        """One candidate from fork to burial. It is killed when the host sends anything or goes away."""
        if self.own_processes is not None:
            namespaces.fresh_processes(self.own_processes)
        child = os.fork()
        if child == 0:
            try:
                self.candidate(channel, cpu_seconds, memory_bytes)
            finally:
                leave(1)
        os.close(channel)
        watched = select.poll()
        for descriptor in (handle := os.pidfd_open(child), self.control.fileno()):
            watched.register(descriptor, select.POLLIN)
        stopped = handle not in (descriptor for descriptor, _ in watched.poll())
        if stopped:
            os.kill(child, signal.SIGKILL)  # it is process 1 where there are namespaces: all of its own die with it
        os.close(handle)
        _, status, used = os.wait4(child, 0)
        cpu_used = used.ru_utime + used.ru_stime
        return {"code": os.waitstatus_to_exitcode(status), "cpu_seconds": cpu_used, "stopped": stopped}

    def candidate(self, channel: int, cpu_seconds: float, memory_bytes: int) -> None:
        """In the fork: give up everything, then run the task. Any failure before that is told, and nothing is run."""
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
            named = seccomp.INTERPRETER if self.own_processes is not None else seccomp.NAMELESS
            seccomp.install(seccomp.COMPILER if compiles else named)
        except OSError as error:
            os.write(CHANNEL, f"{error}\n".encode())
            leave(1)
        answer(CHANNEL)


def preload(mode: str) -> None:
    """Import what candidates will, then leave only the standard library to be found by name, and no environment."""
    programs = STANDARD + GUEST + NUMPY * (importlib.util.find_spec("numpy") is not None)
    for name in OTHER_MODES.get(mode, programs):
        importlib.import_module(name)
    os.environ.clear()
    platform._uname_cache = None  # the machine's name
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    sys.path[:] = [path for path in sys.path if path in standard or os.path.dirname(path) in standard]
    sys.path[:] = [path for path in sys.path if os.path.basename(path) not in ("site-packages", "dist-packages")]


def hide_host() -> None:
    """Answer what asks for the machine's name, which only namespaces can change: programs may not ask the kernel."""
    host = os.uname()
    sandbox = os.uname_result((host.sysname, namespaces.HOST_NAME, *host[2:]))
    os.uname = lambda: sandbox
    socket.gethostname = lambda: namespaces.HOST_NAME


def library() -> tuple[str, ...]:
    """Paths that hold the interpreter's library, the packages loaded now, and the shared libraries of both."""
    loaded = [module for name, module in [*sys.modules.items()] if "." not in name]
    packages = [path for module in loaded for path in list(getattr(module, "__path__", ()))[:1]]
    beside = [f"{package}.libs" for package in packages]  # where wheels put their shared libraries
    paths = [f"{sys.base_prefix}/lib", *SYSTEM, *packages, *beside, *guest.__path__]
    own = os.path.dirname(r1kit.__file__)
    return tuple(path for path in dict.fromkeys(paths) if os.path.exists(path) and path != own)


def reachable_by_all(path: str) -> bool:
    """Whether every user may enter every directory above `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in Path(path).resolve().parents)


def limit(cpu_seconds: float, address_space: int, processes: int = 0) -> None:
    """Hard limits equal to the soft ones: process 1 of a namespace would ignore the signal of a soft one."""
    wanted = {
        "CPU": math.ceil(cpu_seconds),
        "AS": address_space,
        "STACK": STACK_BYTES,
        "FSIZE": FILE_BYTES,
        "NOFILE": DESCRIPTORS,
        "NPROC": processes,
        **dict.fromkeys(("CORE", "MEMLOCK", "MSGQUEUE"), 0),
    }
    for name, value in wanted.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
