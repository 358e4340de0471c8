"""A busy machine: other programs mount, start, listen, leave files and use every processor, until the test ends.

`disturbance` starts this file as a program that is no descendant of the test, as the programs of other users are.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from select import select

from attack import MARK

from r1kit.rewards.sandbox.native import kernel

PAUSE = 0.005  # seconds between disturbances
# Takes what time others leave, and ends when the disturbance does.
BUSY = "import os; os.nice(19); parent = os.getppid()\nwhile os.getppid() == parent: pass"
IPC_CREAT, IPC_RMID = 0o1000, 0


@contextlib.contextmanager
def disturbance() -> Iterator[Counter[str]]:
    """Disturb the machine. After the block the counter holds how often each kind of disturbance happened."""
    counts: Counter[str] = Counter()
    stop, stopped = os.pipe()
    report, reported = os.pipe()
    subprocess.run([sys.executable, __file__], stdin=stop, stdout=reported, check=True)
    os.close(stop)
    os.close(reported)
    with open(report) as output:
        assert output.readline() == "started\n"
        try:
            yield counts
        finally:
            os.close(stopped)
            counts.update(json.loads(output.read()))


def become_foreign() -> None:
    """Leave the tree of processes that started this one."""
    if os.fork():
        os._exit(0)
    os.setsid()


def mount(directory: str) -> None:
    """Mount an empty file system, and unmount it every second time."""
    if os.path.ismount(directory):
        kernel.call("umount2", directory.encode(), kernel.MNT_DETACH)
    else:
        kernel.mount("disturbance", directory, "tmpfs", 0)


def listen(directory: str) -> None:
    """Open listening sockets at an automatic port and at an abstract name, and close them again."""
    with socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{MARK}-disturbance-{os.getpid()}")
        abstract.listen()


def leave_file(directory: str) -> None:
    """Write a file with the name that attacks on another host would give it, and delete it every second time."""
    path = Path(directory).with_name(f"{MARK}-{Path(directory).name}")
    path.unlink() if path.exists() else path.touch()


def share_memory(directory: str) -> None:
    """Create a segment of shared memory and delete it again."""
    kernel.call("shmctl", kernel.call("shmget", 0, 4096, IPC_CREAT | 0o600), IPC_RMID, None)


def start_process(directory: str) -> None:
    """Run a short program."""
    subprocess.run(["true"], check=True)


def main() -> None:
    become_foreign()
    hogs = [
        subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(os.cpu_count() or 1)
    ]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="disturbance-") as directory:
        while counts["listen"] < 2 or not select([sys.stdin], [], [], PAUSE)[0]:
            for act in (mount, listen, leave_file, share_memory, start_process):
                with contextlib.suppress(PermissionError):  # mounts need a privilege
                    act(directory)
                    counts[act.__name__] += 1
            if counts["listen"] == 2:
                print("started", flush=True)
        if os.path.ismount(directory):
            mount(directory)
        Path(directory).with_name(f"{MARK}-{Path(directory).name}").unlink(missing_ok=True)
    for hog in hogs:
        hog.kill()
        hog.wait()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
