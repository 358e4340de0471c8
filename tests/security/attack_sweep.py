"""Run the attack programs against every sandbox tier of this machine, as root and as nobody. None may escape.

    python tests/security/attack_sweep.py [--tiers wasm,namespaces,landlock] [--sample] [--only WORD]

`make attacks` runs all of them, in about ten minutes on an idle machine. The tests run the first of each category
(--sample). After each attack the host must be unchanged, the run must have kept its limit + 0.5 s, and an honest run on
the same sandbox must give the same result as on a fresh one. Prints a line for each tier and user, and each failure
with its reason. The exit code is 1 if there is a failure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from attack import LIMITS, WON, Attack, load, run_honest, sample
from host import Host, Waits, isolate

from r1kit.errors import UserError
from r1kit.rewards.sandbox import TIERS
from r1kit.rewards.sandbox.base import InfraError, Sandbox
from r1kit.rewards.sandbox.wasm.build import compiled

AS_NOBODY = Path(__file__).with_name("as_nobody.py")
NOBODY = 65534
GRACE = 0.5  # seconds that a run may exceed its limit, not counting waits for a processor


def open_untested(tier: str) -> Sandbox:
    """Open a tier without the canary attacks."""
    sandbox: Sandbox = import_module(f"r1kit.rewards.sandbox.tiers.{tier}").open_tier()
    return sandbox


def fault(sandbox: Sandbox, attack: Attack, host: Host, clean: str, grace: float = GRACE) -> str | None:
    """Run the attack and return what it achieved, or None. clean: the output of an honest run on a fresh sandbox."""
    before = host.prepare()
    start = time.monotonic()
    with Waits() as waits:
        outcomes = sandbox.run(attack.task(host.targets), LIMITS).outcomes
        seconds = time.monotonic() - start
    output = " ".join(f"{outcome.value} {outcome.detail}" for outcome in outcomes)
    states = [host.state()]
    next_run = run_honest(sandbox, host.secrets["planted"])
    states.append(host.state())  # on a busy machine a datagram may arrive only now
    if read := [name for name, secret in host.secrets.items() if secret.rsplit("-", 1)[1] in output]:
        return f"read the secret: {read[0]}"
    if WON in output:
        return output[output.index(WON) :][:200]
    if changes := [
        (name, before[name], after[name]) for after in states for name in before if before[name] != after[name]
    ]:
        return f"changed the host: {changes}"[:600]
    if len(outcomes) != 1 or outcomes[0].status == "infra_error":
        return f"broke the sandbox: {outcomes[:2]}"[:300]
    if seconds > (allowed := LIMITS.cpu_seconds + grace + waits.seconds):
        return f"took {seconds:.2f} s, allowed are {allowed:.2f}"
    if next_run.value != clean:
        return f"spoilt the next run: {next_run}"
    return None


def sweep(tier: str, attacks: list[Attack], grace: float, isolated: bool) -> dict[Attack, str | None]:
    """Run every attack on one fresh sandbox of the tier as the current user; return what each achieved."""
    with tempfile.TemporaryDirectory(prefix="r1kit-besieged-") as directory:
        host = Host(Path(directory), isolated)
        try:
            sandbox = open_untested(tier)
            clean = run_honest(sandbox, host.secrets["planted"])
            assert clean.status == "ok" and str(clean.value).startswith("42 "), clean
            results = {attack: fault(sandbox, attack, host, str(clean.value), grace) for attack in attacks}
            sandbox.close()
            return results
        finally:
            host.close()


def repeat_as_nobody(with_wasm: bool, isolated: bool) -> int:
    """Run the same command as uid nobody, with a copy of the built components in a cache of its own."""
    with tempfile.TemporaryDirectory(prefix="r1kit-nobody-") as cache:
        if with_wasm:
            shutil.copytree(compiled()[0].parent, f"{cache}/r1kit/wasm")
        for path in (cache, *map(str, Path(cache).rglob("*"))):
            os.chown(path, NOBODY, NOBODY)
        command = [sys.executable, AS_NOBODY, sys.executable, *sys.argv, *["--isolated"] * isolated]
        return subprocess.run(command, env={**os.environ, "XDG_CACHE_HOME": cache}).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiers", default=",".join(TIERS))
    parser.add_argument("--sample", action="store_true", help="the first attack of each category")
    parser.add_argument("--only", default="", help="attacks whose category or name contains this")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds that a run may exceed its limit")
    parser.add_argument("--isolated", action="store_true", help=argparse.SUPPRESS)  # for the repetition as nobody
    options = parser.parse_args()
    isolated = options.isolated or (os.geteuid() == 0 and isolate())
    attacks = [attack for attack in load() if options.only in f"{attack.category}: {attack.name}"]
    attacks = sample(attacks) if options.sample else attacks
    user = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    failures, available = 0, []
    for tier in options.tiers.split(","):
        try:
            results = sweep(tier, attacks, options.grace, isolated)
        except (UserError, InfraError) as error:
            print(f"{tier:10} as {user:9} not available: {error}", flush=True)
            continue
        available.append(tier)
        escapes = {attack: why for attack, why in results.items() if why}
        print(f"{tier:10} as {user:9} {len(results) - len(escapes)}/{len(results)} contained", flush=True)
        for attack, why in escapes.items():
            print(f"  {attack.category}: {attack.name}: {why}", flush=True)
        failures += len(escapes)
    if os.geteuid() == 0:
        failures += repeat_as_nobody("wasm" in available, isolated)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
