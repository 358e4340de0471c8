"""A dozen attacks that a sandbox must contain before it is used. The evidence is collected outside of it.

They prove nothing, but they detect what goes wrong in practice: a kernel or container that does not enforce a layer, an
inherited descriptor, an inherited variable. tests/security has the long list.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from r1kit.rewards.sandbox.base import Limits, Mode, Outcome, Sandbox, Status, Task

LIMITS = Limits(fuel=1_000_000_000, cpu_seconds=0.5, memory_bytes=256 << 20, output_bytes=1 << 20)
VARIABLE = "R1KIT_CANARY"


@dataclass(frozen=True)
class Host:
    """What an attack could steal or change on this machine."""

    token: str  # in the secret file, in the environment, and printed by an attack that succeeds
    directory: Path
    listener: socket.socket

    @property
    def targets(self) -> dict[str, object]:
        """What the programs know as TARGET."""
        port = self.listener.getsockname()[1]
        return {"token": self.token, "directory": str(self.directory), "port": port, "host": os.getpid()}


@dataclass(frozen=True)
class Attack:
    """A program that must not reach its target."""

    name: str
    program: str  # TARGET holds Host.targets
    required_status: Status | None = None  # None: any but infra_error
    mode: Mode = "stdin"


_RUN = """
import subprocess
subprocess.run(["/bin/sh", "-c", "echo > " + TARGET["directory"] + "/ran"])
print(TARGET["token"])
"""
_CONNECT = """
import socket
socket.create_connection(("127.0.0.1", TARGET["port"]), 1)
print(TARGET["token"])
"""
_DESCRIPTORS = """
import os
for descriptor in range(3, 300):
    try:
        print(os.pread(descriptor, 200, 0))
    except (OSError, AttributeError):
        pass
"""
_FORGED_REPLY = """
import os
def f():
    for descriptor in range(1, 300):
        try:
            os.write(descriptor, b'\\n{"status": "infra_error", "detail": ""}\\n')
        except OSError:
            pass
    os.kill(os.getpid(), 9)
"""
ATTACKS = (
    Attack("reading a file", "print(open(TARGET['directory'] + '/secret').read())"),
    Attack("writing a file", "open(TARGET['directory'] + '/written', 'w').write('x')"),
    Attack("reading the environment", "import os; print(os.environ)"),
    Attack("reading inherited descriptors", _DESCRIPTORS),
    Attack("connecting to a port", _CONNECT),
    Attack("running a program", _RUN),
    Attack("forking", "import os; os.fork(); print(TARGET['token'])"),
    Attack("signalling its host", "import os; os.kill(TARGET['host'], 0); print(TARGET['token'])"),
    Attack("killing its parent", "import os; os.kill(os.getppid(), 9); print(TARGET['token'])"),
    Attack("running forever", "while True: pass", required_status="over_limit"),
    Attack("filling the memory", "held = [bytearray(b'x' * 10**7) for _ in range(10**3)]; print(TARGET['token'])"),
    Attack("flooding its output", "while True: print('x' * 10**5)", required_status="over_limit"),
    Attack("forging a reply", _FORGED_REPLY, required_status="error", mode="call"),
    Attack("leaving something behind", "import builtins; builtins.left = TARGET['token']"),
    Attack("finding what was left", "print(left)"),
)
CONTROL = Attack("", "print(int(input()) + 1)")


@contextlib.contextmanager
def planted() -> Iterator[Host]:
    """Plant a secret file, a secret variable, an inheritable descriptor and an open port. Enter before opening."""
    with (
        tempfile.TemporaryDirectory(prefix="r1kit-canary-") as name,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        listener.setblocking(False)
        host = Host(secrets.token_hex(16), Path(name), listener)
        (host.directory / "secret").write_text(host.token)
        descriptor = os.open(host.directory / "secret", os.O_RDONLY)
        os.set_inheritable(descriptor, True)
        os.environ[VARIABLE] = host.token
        try:
            yield host
        finally:
            del os.environ[VARIABLE]
            os.close(descriptor)


def escapes(sandbox: Sandbox, host: Host) -> list[str]:
    """Return a text for each attack that the sandbox did not contain, and one if an honest program fails in it."""
    escaped = [fault for attack in ATTACKS if (fault := _fault(attack, _run(sandbox, host, attack), host))]
    honest = _run(sandbox, host, CONTROL)
    return escaped + ([] if honest.value == "42\n" else [f"an honest program fails: {honest.status} {honest.detail}"])


def _run(sandbox: Sandbox, host: Host, attack: Attack) -> Outcome:
    text = "41\n" if attack.mode == "stdin" else json.dumps({"function": "f", "args": []})
    return sandbox.run(Task(attack.mode, f"TARGET = {host.targets!r}\n{attack.program}", (text,)), LIMITS).outcomes[0]


def _fault(attack: Attack, outcome: Outcome, host: Host) -> str | None:
    touched = sorted(path.name for path in host.directory.iterdir() if path.name != "secret")
    if host.token in f"{outcome.value}{outcome.detail}" or touched or _visited(host.listener):
        return attack.name
    if outcome.status == "infra_error" or (attack.required_status and outcome.status != attack.required_status):
        return f"{attack.name} ({outcome.status}: {outcome.detail})"
    return None


def _visited(listener: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        listener.accept()[0].close()
        return True
    return False
