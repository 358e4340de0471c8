"""Run the attack programs against every tier of the sandbox this machine has, as root and as nobody; 0 may escape.

    python tests/security/attack_sweep.py [--tiers wasm,namespaces,landlock] [--sample] [--only WORD]

`make attacks` runs them all (about ten minutes on an idle machine); the default pytest run takes the first of each
category (--sample). After each attack the host must be as it was, the run within its limit + 0.5 s, and an honest run
on the same sandbox must come out as it did on a fresh one. Prints a line for each tier and user, and each failure with
its reason; the exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attack import LIMITS, WON, Attack, honest, load, sample
from host import Host, Waits

from r1kit.errors import UserError
from r1kit.rewards.sandbox.base import Sandbox
from r1kit.rewards.sandbox.channel import Broken
from r1kit.rewards.sandbox.native import LandlockSandbox, NamespaceSandbox
from r1kit.rewards.sandbox.wasm.build import compiled
from r1kit.rewards.sandbox.wasm.tier import WasmSandbox

TIERS = {tier.name: tier for tier in (WasmSandbox, NamespaceSandbox, LandlockSandbox)}
AS_NOBODY = Path(__file__).with_name("as_nobody.py")
NOBODY = 65534
GRACE = 0.5  # seconds a run may take beyond its limit, besides waiting for a processor


def fault(sandbox: Sandbox, attack: Attack, host: Host, clean: str, grace: float = GRACE) -> str | None:
    """What the attack achieved, if anything."""
    before = host.state()
    start = time.monotonic()
    with Waits() as waits:
        outcomes = sandbox.run(attack.task(host.facts), LIMITS).outcomes
        seconds = time.monotonic() - start
    told = " ".join(f"{outcome.value} {outcome.detail}" for outcome in outcomes)
    after = host.state()
    later = honest(sandbox, host.secrets["planted"])
    if seen := [name for name, secret in host.secrets.items() if secret.rsplit("-", 1)[1] in told]:
        return f"read the secret: {seen[0]}"
    if WON in told:
        return told[told.index(WON) :][:200]
    if changed := [name for name in before if before[name] != after[name]]:
        return f"changed the host: {[(name, before[name], after[name]) for name in changed]}"[:600]
    if len(outcomes) != 1 or outcomes[0].status == "infra_error":
        return f"broke the sandbox: {outcomes[:2]}"[:300]
    if seconds > (allowed := LIMITS.cpu_seconds + grace + waits.seconds):
        return f"took {seconds:.2f} s, allowed are {allowed:.2f}"
    if later.value != clean:
        return f"spoilt the next run: {later}"
    return None


def sweep(tier: type[Sandbox], attacks: list[Attack], grace: float) -> dict[Attack, str | None]:
    """Every attack on one fresh sandbox of the tier, as the present user."""
    with tempfile.TemporaryDirectory(prefix="r1kit-besieged-") as directory:
        host = Host(Path(directory))
        try:
            sandbox = tier()
            clean = honest(sandbox, host.secrets["planted"])
            assert clean.status == "ok" and str(clean.value).startswith("42 "), clean
            results = {attack: fault(sandbox, attack, host, str(clean.value), grace) for attack in attacks}
            sandbox.close()
            return results
        finally:
            host.close()


def again_as_nobody(with_wasm: bool) -> int:
    """The same command as uid nobody, with a copy of the built components in a cache of its own."""
    with tempfile.TemporaryDirectory(prefix="r1kit-nobody-") as cache:
        if with_wasm:
            shutil.copytree(compiled()[0].parent, f"{cache}/r1kit/wasm")
        for path in (cache, *map(str, Path(cache).rglob("*"))):
            os.chown(path, NOBODY, NOBODY)
        command = [sys.executable, AS_NOBODY, sys.executable, *sys.argv]
        return subprocess.run(command, env={**os.environ, "XDG_CACHE_HOME": cache}).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiers", default=",".join(TIERS))
    parser.add_argument("--sample", action="store_true", help="the first attack of each category")
    parser.add_argument("--only", default="", help="attacks with this in their category or name")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds a run may take beyond its limit")
    options = parser.parse_args()
    attacks = [attack for attack in load() if options.only in f"{attack.category}: {attack.name}"]
    attacks = sample(attacks) if options.sample else attacks
    user = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    failures, found = 0, []
    for tier in options.tiers.split(","):
        try:
            results = sweep(TIERS[tier], attacks, options.grace)
        except (UserError, Broken) as error:
            print(f"{tier:10} as {user:9} not available: {error}", flush=True)
            continue
        found.append(tier)
        escapes = {attack: why for attack, why in results.items() if why}
        print(f"{tier:10} as {user:9} {len(results) - len(escapes)}/{len(results)} contained", flush=True)
        for attack, why in escapes.items():
            print(f"  {attack.category}: {attack.name}: {why}", flush=True)
        failures += len(escapes)
    if os.geteuid() == 0:
        failures += again_as_nobody(with_wasm="wasm" in found)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
