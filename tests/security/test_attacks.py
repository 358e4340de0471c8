"""Attacks on the sandbox: one program of each category, on every tier, as this user and as nobody.

`make attacks` (attack_sweep.py) runs all programs. Here other programs disturb the machine during the attacks.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack import IPC_KEYS, MARK, MOUNT_POINTS, Attack, load, run_honest, sample
from attack_sweep import fault, open_untested
from disturbance import IPC_RMID, disturbance
from host import Host, descendants
from public_data import fixture_and_shared

from r1kit.rewards.sandbox import NATIVE, TIERS
from r1kit.rewards.sandbox.base import InfraError
from r1kit.rewards.sandbox.native import kernel
from r1kit.rewards.sandbox.tiers.none import PlainSandbox

linux = pytest.mark.skipif(sys.platform != "linux", reason="the native tiers and the targets in host.py need Linux")
SWEEP = Path(__file__).with_name("attack_sweep.py")
GRACE = 5.0  # seconds that a run may exceed its limit here; `make attacks` is strict
STAYS = """
import socket, time
out, into = os.pipe()
if os.fork() == 0:
    os.setsid()
    s = {socket}; s.listen(); os.write(into, b"x")
    time.sleep(600)
os.read(out, 1)
"""
# Programs that escape without a word, by the evidence that they leave.
SILENT = {
    "strays": f"open('/tmp/{MARK}', 'w').close()",
    "victim": "os.kill(H['victim'], 19)",
    "shared": "call(29, 194, 0x5EC, 4096, 0o1666)",
    "mounts": "call(165, 40, b'none', H['open_directory'].encode(), b'tmpfs', 0, b'')",
    "listeners": STAYS.format(socket="socket.create_server(('127.0.0.1', H['free_port']))"),
    "abstract": STAYS.format(socket=f"socket.socket(socket.AF_UNIX); s.bind('\\0{MARK}')"),
}
FOREIGN = """
import os, socket
if os.fork(): os._exit(0)
print("ready", flush=True)
s = socket.create_server(("127.0.0.1", int(input()))); print("listening", flush=True)
input()
"""


@pytest.fixture
def disturbed() -> Iterator[None]:
    """Other programs that mount, start, listen, leave files and use every processor during the test."""
    with disturbance() as counts:
        yield
    assert {"listen", "leave_file", "share_memory", "start_process"} <= {*counts}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose traces of escapes are removed after the test. Request `disturbed` first if both are needed."""
    before = {*descendants(os.getpid())}
    host = Host(tmp_path)
    yield host
    for pid in {*descendants(os.getpid())} - before - {host.victim.pid}:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    host.close()
    for path in Path("/tmp").glob(f"{MARK}-*"):
        if path.name in host.marks:
            path.unlink()
    Path("/tmp/planted").unlink(missing_ok=True)  # the honest program wrote it
    with contextlib.suppress(OSError):
        kernel.call("umount2", str(host.targets["open_directory"]).encode(), kernel.MNT_DETACH)
    with contextlib.suppress(OSError):
        kernel.call("shmctl", kernel.call("shmget", 0x5EC, 0, 0), IPC_RMID, None)


@linux
@pytest.mark.slow
@pytest.mark.usefixtures("disturbed")
@pytest.mark.parametrize("tier", TIERS)
def test_no_attack_escapes(tier: str) -> None:
    command = [sys.executable, SWEEP, "--sample", "--tiers", tier, "--grace", str(GRACE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if "contained" not in done.stdout:
        pytest.skip(done.stdout)


def test_the_collection_is_large_and_varied() -> None:
    attacks = load()
    assert len(attacks) == 299 and len(sample(attacks)) >= 15
    assert len({attack.program for attack in attacks}) == len({(a.category, a.name) for a in attacks}) == len(attacks)


def test_the_evidence_covers_where_attacks_mount_and_which_keys_they_use() -> None:
    """On a shared machine host.py compares only these."""
    mounting = [a.program for a in load() if re.search(r"call\((155|165|166),", a.program)]
    places = {place for program in mounting for place in re.findall(r'b"(/[^"]*)"', program)}
    keys = {int(key, 16) for a in load() for key in re.findall(r"call\((?:29|64|68), \d+, (0x\w+)", a.program)}
    assert len(mounting) >= 5 and places and places <= MOUNT_POINTS
    assert keys and keys <= IPC_KEYS


@linux
@pytest.mark.usefixtures("disturbed")
def test_without_a_sandbox_the_attacks_succeed(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of host.py and attack_sweep.py detect attacks that succeed."""
    monkeypatch.chdir(tmp_path)
    expected = {
        "open the secret": "read the secret: file",
        "overwrite the canary": "changed the host: [('files'",
        "os.environ": "read the secret: environment",
        "connect to the host": "ESCAPED",
        "udp to the host": "changed the host: [('visitors'",
        "fork": ("ESCAPED", "changed the host: [('processes'"),  # parent and child both reply, in any order
        "kill the victim": "ESCAPED",
    }
    attacks = {attack.name: attack for attack in load() if attack.name in expected}
    results = {name: fault(PlainSandbox(), attacks[name], host, "") for name in expected}
    assert not [(name, why) for name, why in results.items() if not (why or "").startswith(expected[name])]


@linux
@pytest.mark.usefixtures("disturbed")
@pytest.mark.parametrize("evidence", SILENT)
def test_an_escape_without_a_word_is_reported(
    evidence: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if evidence == "mounts" and not may_mount():
        pytest.skip("this user may not mount")
    why = fault(PlainSandbox(), Attack("silent", evidence, "stdin", SILENT[evidence]), host, "")
    assert (why or "").startswith("changed the host: ") and f"('{evidence}', " in why, why


@linux
def test_only_listeners_of_foreign_processes_are_tolerated(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FOREIGN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout and launcher.stdin
        launcher.wait()
        assert launcher.stdout.readline() == "ready\n"
        host = Host(tmp_path)
        try:
            launcher.stdin.write(f"{host.free_port}\n")
            launcher.stdin.flush()
            assert launcher.stdout.readline() == "listening\n"
            assert host.state()["listeners"] == []
            host.prepare()
            with socket.create_server(("127.0.0.1", host.free_port)):
                assert len(host.state()["listeners"]) == 1
        finally:
            host.close()


def may_mount() -> bool:
    command = ["unshare", "--mount", "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


@linux
@pytest.mark.slow
@pytest.mark.usefixtures("disturbed")
@pytest.mark.parametrize("tier", NATIVE)
@fixture_and_shared("security", "vectors/adversarial.jsonl")
def test_adversarial_programs_are_contained(path: Path, tier: str, host: Host) -> None:
    rows = [row for row in map(json.loads, path.open(encoding="utf-8")) if row["kind"] == "sandbox"]
    assert len(rows) >= 10
    try:
        sandbox = open_untested(tier)
    except InfraError as error:
        pytest.skip(str(error))
    clean = str(run_honest(sandbox, host.secrets["planted"]).value)
    attacks = [Attack("adversarial", row["name"], "stdin", row["response"]) for row in rows]
    results = {attack.name: fault(sandbox, attack, host, clean, GRACE) for attack in attacks}
    sandbox.close()
    assert {name: why for name, why in results.items() if why} == {}
