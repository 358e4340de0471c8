"""Attacks on the sandbox: one program of each category, on every tier, as this user and as nobody.

`make attacks` (attack_sweep.py) runs all programs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from attack import Attack, load, run_honest, sample
from attack_sweep import fault, open_untested
from host import Host
from public_data import fixture_and_shared

from r1kit.rewards.sandbox import NATIVE, TIERS
from r1kit.rewards.sandbox.base import InfraError
from r1kit.rewards.sandbox.tiers.none import PlainSandbox

linux = pytest.mark.skipif(sys.platform != "linux", reason="the native tiers and the targets in host.py need Linux")
SWEEP = Path(__file__).with_name("attack_sweep.py")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_no_attack_escapes(tier: str) -> None:
    command = [sys.executable, SWEEP, "--sample", "--tiers", tier, "--grace", "5"]  # `make attacks` is strict
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if "contained" not in done.stdout:
        pytest.skip(done.stdout)


def test_the_collection_is_large_and_varied() -> None:
    attacks = load()
    assert len(attacks) == 299 and len(sample(attacks)) >= 15
    assert len({attack.program for attack in attacks}) == len({(a.category, a.name) for a in attacks}) == len(attacks)


@linux
def test_without_a_sandbox_the_attacks_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    host = Host(tmp_path)
    try:
        attacks = {attack.name: attack for attack in load() if attack.name in expected}
        results = {name: fault(PlainSandbox(), attacks[name], host, "") for name in expected}
        assert not [(name, why) for name, why in results.items() if not (why or "").startswith(expected[name])]
    finally:
        host.close()
        Path("/tmp/planted").unlink(missing_ok=True)  # the honest program wrote it


@linux
@pytest.mark.slow
@pytest.mark.parametrize("tier", NATIVE)
@fixture_and_shared("security", "vectors/adversarial.jsonl")
def test_adversarial_programs_are_contained(path: Path, tier: str, tmp_path: Path) -> None:
    rows = [row for row in map(json.loads, path.open(encoding="utf-8")) if row["kind"] == "sandbox"]
    assert len(rows) >= 10
    host = Host(tmp_path)
    try:
        sandbox = open_untested(tier)
        clean = str(run_honest(sandbox, host.secrets["planted"]).value)
        attacks = [Attack("adversarial", row["name"], "stdin", row["response"]) for row in rows]
        results = {attack.name: fault(sandbox, attack, host, clean) for attack in attacks}
        sandbox.close()
    except InfraError as error:
        pytest.skip(str(error))
    finally:
        host.close()
    assert {name: why for name, why in results.items() if why} == {}
