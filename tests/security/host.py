"""A host with targets for attacks: secrets, open ports, a process; and a record of the state that must not change."""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import socket
import subprocess
import threading
import time
from pathlib import Path

PLACES = [*"/ /tmp /var/tmp /dev/shm /root /home /etc /run /usr/lib".split(), os.path.dirname(os.__file__)]
INHERITED = (200, 251)  # descriptors that every child process could inherit
PR_SET_CHILD_SUBREAPER = 36
PERIOD = 0.02  # seconds between samples of the time that processes wait for a processor


class Host:
    """The targets. Create it before the sandbox, so that the sandbox could inherit what it must not."""

    def __init__(self, directory: Path) -> None:
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
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.free_port = probe.getsockname()[1]
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
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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
            "free_port": self.free_port,
            "unix": str(self.directory / "socket"),
            "abstract": f"r1kit-host-{os.getpid()}",
            "hostname": socket.gethostname(),
        }

    def state(self) -> dict[str, object]:
        """Return everything that an attack must leave unchanged."""
        return {
            "files": self._files(),
            "strays": sorted(str(p) for place in PLACES for p in _list(Path(place)) if "r1kit-attack" in p.name),
            "processes": sorted(_descendants(os.getpid()).values()),
            "victim": _read(f"/proc/{self.victim.pid}/stat").split()[2:4] + _read_lines(self.victim.pid),
            "visitors": [name for name in ("tcp", "unix", "abstract", "udp") if _visited(getattr(self, name))],
            "listeners": [line for line in _read("/proc/net/tcp").splitlines() if f":{self.free_port:04X} " in line],
            "abstract": [line for line in _read("/proc/net/unix").splitlines() if "r1kit-attack" in line],
            "shared": [_read(f"/proc/sysvipc/{kind}") for kind in ("shm", "sem", "msg")],
            "names": (socket.gethostname(), _read("/proc/sys/kernel/core_pattern"), os.environ["R1KIT_CANARY"]),
            "mounts": _read("/proc/self/mounts"),
            "clock": abs(time.time() - time.monotonic() - self.clock) < 5,
            "descriptors": [(os.lseek(d, 0, os.SEEK_CUR), os.get_inheritable(d)) for d in INHERITED],
        }

    def close(self) -> None:
        """End the victim and close all sockets and descriptors."""
        self.victim.kill()
        self.victim.wait()
        for server in (self.tcp, self.unix, self.abstract, self.udp):
            server.close()
        for descriptor in (self.inherited, *INHERITED):
            os.close(descriptor)
        del os.environ["R1KIT_CANARY"]

    def _files(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self.directory.rglob("*")):
            status = path.stat()
            digest.update(f"{path} {status.st_mode} {status.st_uid} {status.st_size} {status.st_mtime_ns}\n".encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()


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


def _visited(server: socket.socket) -> bool:
    try:
        if server.type == socket.SOCK_DGRAM:
            server.recv(1)
        else:
            server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _descendants(root: int) -> dict[int, str]:
    """Return process id -> name of all descendants of `root`."""
    names: dict[int, str] = {}
    level = [root]
    while level:
        level = [int(pid) for parent in level for pid in _read(f"/proc/{parent}/task/{parent}/children").split()]
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
        for pid in (self.root, *_descendants(self.root)):
            if text := _read(f"/proc/{pid}/schedstat"):
                self.seen[pid] = int(text.split()[1]) / 1e9
        return dict(self.seen)
