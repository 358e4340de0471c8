"""A host with targets for attacks: secrets, open ports, a process; and a record of the state that must not change.

Other programs use the machine at the same time. They cannot hide an escape: `fault` reports any difference between two
states, so a foreign change can only add one, unless it undoes exactly what the attack did. To avoid false alarms, each
entry of `state` covers only what the attack could have changed; the comments there say why nothing is missed.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import secrets
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attack import IPC_KEYS, MARK, MOUNT_POINTS

from r1kit.rewards.sandbox.native import kernel

PLACES = [*"/ /tmp /var/tmp /dev/shm /root /home /etc /run /usr/lib".split(), os.path.dirname(os.__file__)]
INHERITED = (200, 251)  # descriptors that every child process could inherit
PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
MS_SHARED = 1 << 20
IPC_FILES = [f"/proc/sysvipc/{kind}" for kind in ("shm", "sem", "msg")]
LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp
DAY = 86400.0
PERIOD = 0.02  # seconds between samples of the time that processes wait for a processor


def isolate() -> bool:
    """Move this process to mount, IPC and host name namespaces of its own; False if the kernel does not allow it.

    Foreign mounts and IPC objects do not appear there, so `Host(isolated=True)` compares all of them. Child processes
    start in the same namespaces. Mounts are shared with namespaces that children make, as under systemd, so a sandbox
    that lets its mounts propagate to the host is still caught.
    """
    try:
        kernel.call("unshare", kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
    except OSError:
        return False
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("none", "/", None, kernel.MS_REC | MS_SHARED)
    return True


class Host:
    """The targets. Create it before the sandbox, so that the sandbox could inherit what it must not.

    isolated: this process called `isolate`.
    """

    def __init__(self, directory: Path, isolated: bool = False) -> None:
        self.isolated = isolated
        self.marks: list[str] = []
        self.secrets = {name: f"canary-{name}-{secrets.token_hex(12)}" for name in ("file", "environment", "planted")}
        os.environ["R1KIT_CANARY"] = self.secrets["environment"]
        self.directory = directory / "r1kit-canary"
        for path in (self.directory, self.directory / "open"):
            path.mkdir()
            path.chmod(0o777)
        secret = self.directory / "secret"
        secret.write_text(self.secrets["file"])
        secret.chmod(0o666)
        self.inherited = os.open(secret, os.O_RDWR)
        for descriptor in INHERITED:
            os.dup2(self.inherited, descriptor, inheritable=True)
        self.tcp = socket.socket()
        self.unix, self.abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp.bind(("127.0.0.1", 0))
        self.udp.bind(("127.0.0.1", 0))
        self.unix.bind(str(self.directory / "socket"))
        (self.directory / "socket").chmod(0o777)
        self.abstract.bind(f"\0r1kit-host-{os.getpid()}")
        for server in (self.tcp, self.unix, self.abstract):
            server.listen()
        for server in (self.tcp, self.unix, self.abstract, self.udp):
            server.setblocking(False)
        # Orphaned processes of the sandbox become children of this process, so `state` lists them.
        self.was_subreaper = ctypes.c_int()
        kernel.call("prctl", PR_GET_CHILD_SUBREAPER, ctypes.addressof(self.was_subreaper), 0, 0, 0)
        kernel.prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.victim = subprocess.Popen(["sleep", "100000"])
        self.clock = time.time() - time.monotonic()
        self.targets: dict[str, object] = {
            "secret": str(secret),
            "open_directory": str(self.directory / "open"),
            "descriptors": INHERITED,
            "host": os.getpid(),
            "victim": self.victim.pid,
            "port": self.tcp.getsockname()[1],
            "udp_port": self.udp.getsockname()[1],
            "unix": str(self.directory / "socket"),
            "abstract": f"r1kit-host-{os.getpid()}",
            "hostname": socket.gethostname(),
        }
        self.prepare()

    def prepare(self) -> dict[str, object]:
        """Choose a new mark and a new free port for the next attack and return the state before it.

        With new ones, nothing left by an earlier attack or by another program looks like the work of this one.
        """
        self.mark = f"{MARK}-{secrets.token_hex(4)}"
        self.marks.append(self.mark)
        self.free_port = _free_port()
        self.targets |= {"mark": self.mark, "free_port": self.free_port}
        self._visitors()  # removes those that came before
        return self.state()

    def state(self) -> dict[str, object]:
        """Return everything that an attack must leave unchanged. Takes each visitor from its queue."""
        return {
            # Foreign programs do not know the path of this directory.
            "files": self._files(),
            # Only the attack knows its mark, and every file that the attacks create outside the canary has it.
            "strays": sorted(str(p) for place in PLACES for p in _list(Path(place)) if self.mark in p.name),
            # Only the descendants of this process. An orphan stays one, as this process is a subreaper.
            "processes": sorted(descendants(os.getpid()).values()),
            # A child of this process.
            "victim": (*_condition(self.victim.pid), *_read_lines(self.victim.pid)),
            # Addresses that only the attack is told. Any visitor counts, as an attack can close its end at once.
            "visitors": self._visitors(),
            # Sockets that listen at a port chosen for this attack, except those that a process outside our tree holds:
            # an attack cannot give its own socket to such a process.
            "listeners": _listeners(self.free_port),
            # Only the attack knows its mark.
            "abstract": [line for line in _read("/proc/net/unix").splitlines() if self.mark in line],
            # All IPC objects of an own namespace; in a shared one those with the keys that the attacks use.
            "shared": [*map(_read, IPC_FILES)] if self.isolated else _ipc_objects(),
            # Constants of the machine; the host name is that of the own namespace, if there is one.
            "names": (socket.gethostname(), _read("/proc/sys/kernel/core_pattern"), os.environ["R1KIT_CANARY"]),
            "mounts": self._mounts(),
            # Attacks set the clock to 1970. Time synchronisation corrects it by less than a day.
            "clock": abs(time.time() - time.monotonic() - self.clock) < DAY,
            # Descriptors of this process and its children.
            "descriptors": [(os.lseek(d, 0, os.SEEK_CUR), os.get_inheritable(d)) for d in INHERITED],
        }

    def close(self) -> None:
        """End the victim, close all sockets and descriptors, and undo the other changes to this process."""
        self.victim.kill()
        self.victim.wait()
        for server in (self.tcp, self.unix, self.abstract, self.udp):
            server.close()
        for descriptor in (self.inherited, *INHERITED):
            os.close(descriptor)
        del os.environ["R1KIT_CANARY"]
        kernel.prctl(PR_SET_CHILD_SUBREAPER, self.was_subreaper.value)

    def _files(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self.directory.rglob("*")):
            status = path.stat()
            digest.update(f"{path} {status.st_mode} {status.st_uid} {status.st_size} {status.st_mtime_ns}\n".encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()

    def _visitors(self) -> dict[str, int]:
        """Return how many connections or datagrams waited at each address, and remove them."""
        counts = Counter(name for name in ("tcp", "unix", "abstract", "udp") for _ in _visits(getattr(self, name)))
        return dict(counts)

    def _mounts(self) -> list[str]:
        """Return the mount table: all of an own namespace; of a shared one the places that attacks mount on.

        Other places of a shared table say nothing about the attack: anyone may mount there. A sandbox that lets its own
        mounts propagate shows at /tmp, where it assembles its root.
        """
        table = _read("/proc/self/mounts").splitlines()
        ours = str(self.directory)
        return [
            line for line in table if self.isolated or (at := line.split()[1]) in MOUNT_POINTS or at.startswith(ours)
        ]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _read_lines(pid: int) -> list[str]:
    """Return the settings of a process that an attack could change without ending it."""
    return [_read(f"/proc/{pid}/{name}") for name in ("limits", "oom_score_adj", "uid_map")]


def _list(directory: Path) -> list[Path]:
    try:
        return [*directory.iterdir()]
    except OSError:
        return []


def _visits(server: socket.socket) -> Iterator[None]:
    with contextlib.suppress(BlockingIOError):
        while True:
            if server.type == socket.SOCK_DGRAM:
                server.recv(1)
            else:
                server.accept()[0].close()
            yield


def _free_port() -> int:
    """Return a random TCP port that nobody listens on; if possible one that the kernel gives to no other program."""
    first, last = map(int, (_read("/proc/sys/net/ipv4/ip_local_port_range") or "32768 60999").split())
    ports = [port for port in range(1024, 65536) if not first <= port <= last] or [*range(1024, 65536)]
    while _listening(port := secrets.choice(ports)):
        pass
    return port


def _listening(port: int) -> list[str]:
    """Return the inodes of the sockets that listen on a TCP port."""
    rows = (line.split() for kind in ("tcp", "tcp6") for line in _read(f"/proc/net/{kind}").splitlines()[1:])
    return [row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == LISTEN]


def _listeners(port: int) -> list[str]:
    """Return the listening sockets at a TCP port that no process outside the tree of this one holds."""
    ours = {str(pid) for pid in (os.getpid(), *descendants(os.getpid()))}
    return [
        inode
        for inode in _listening(port)
        if not any(f"socket:[{inode}]" in _descriptors(path) for path in _processes() if path.name not in ours)
    ]


def _processes() -> list[Path]:
    return [path for path in _list(Path("/proc")) if path.name.isdigit()]


def _descriptors(process: Path) -> list[str]:
    """Return what the descriptors of a process refer to, as far as this user may see them."""
    targets = []
    for path in _list(process / "fd"):
        with contextlib.suppress(OSError):
            targets.append(os.readlink(path))
    return targets


def _ipc_objects() -> list[tuple[str, ...]]:
    """Return (file, key, id) of the System V IPC objects with the attacks' keys."""
    rows = ((path, *line.split()[:2]) for path in IPC_FILES for line in _read(path).splitlines()[1:])
    return [row for row in rows if int(row[1]) in IPC_KEYS]


def _condition(pid: int) -> tuple[str, str]:
    """Return the state of a process (S, T or Z: it sleeps, is stopped or has ended) and its parent.

    On a busy machine a signal is pending until the process gets a processor, so this waits until it had one.
    """
    deadline = time.monotonic() + 60
    while True:
        state, parent = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:2]
        pending = re.findall(r"^(?:Sig|Shd)Pnd:\s*(\w+)", _read(f"/proc/{pid}/status"), re.MULTILINE)
        waits = state in "RD" or (state == "S" and any(int(mask, 16) for mask in pending))
        if not waits or time.monotonic() > deadline:
            return state, parent
        time.sleep(0.001)


def descendants(root: int) -> dict[int, str]:
    """Return process id -> name of all descendants of `root`."""
    names: dict[int, str] = {}
    level = [root]
    while level:
        threads = (path for pid in level for path in _list(Path(f"/proc/{pid}/task")))
        level = [int(pid) for thread in threads for pid in _read(f"{thread}/children").split()]
        names |= {pid: _read(f"/proc/{pid}/comm").strip() for pid in level}
    return names


class Waits:
    """Context manager that measures how long this process and its descendants wait for a processor, in `seconds`."""

    def __enter__(self) -> Waits:
        self.root, self.seen, self.done, self.late = os.getpid(), {}, threading.Event(), 0.0
        self.first = self._sample()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()
        self._sample()
        self.seconds = self.late + sum(waited - self.first.get(pid, 0.0) for pid, waited in self.seen.items())

    def _watch(self) -> None:
        """Sample every PERIOD seconds. If samples are late, the last one before a process ends may be too old."""
        start = time.monotonic()
        while not self.done.wait(PERIOD):
            self._sample()
            self.late = max(self.late, time.monotonic() - start - 2 * PERIOD)
            start = time.monotonic()

    def _sample(self) -> dict[int, float]:
        for pid in (self.root, *descendants(self.root)):
            if text := _read(f"/proc/{pid}/schedstat"):
                self.seen[pid] = int(text.split()[1]) / 1e9
        return dict(self.seen)
