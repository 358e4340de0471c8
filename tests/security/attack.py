"""The attack programs in attacks/*.txt. `== category: name [mode]` starts one; the following lines are its source.

A program that succeeds calls won() or prints a secret. Its effects on the host show in host.Host.state(). The
dictionary H holds its targets: paths, ports, process ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from r1kit.rewards.sandbox.base import Limits, Mode, Outcome, Sandbox, Task

WON = "ESCAPED"
MARK = "r1kit-attack"  # the name of what attacks create; each run replaces it by a name of its own
MOUNT_POINTS = {"/", "/tmp", "/proc", "/lib", "/usr/lib"}  # where attacks mount, and where the sandbox does
IPC_KEYS = {0x5EC, -1}  # of the attacks' shared memory, queues and semaphores; -1 in the attack with every number
PRELUDE = """
import os, sys
def won(*what): print("".join(("ESC", "APED")), *what)  # split, so that printing the source is no success
def call(x86, arm, *arguments):
    import ctypes, platform
    number = arm if platform.machine() == "aarch64" else x86
    if number == -1: return -1
    words = (ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    return ctypes.CDLL(None).syscall(number, *words)
"""
# Leaves a trace wherever it can, reports the state that it finds, and does honest work.
HONEST = """
import builtins, json, os, random, sys
planted = "leak-planted-{token}"
state = [getattr(builtins, "planted", 0), "planted" in sys.modules, dict(os.environ), json.loads("1"), len("a"), 7 + 1]
for directory in ("/tmp", "."):
    try: state.append(sorted(os.listdir(directory)))
    except OSError: state.append(None)
    try: open(directory + "/planted", "w").write(planted)
    except OSError: pass
os.environ["PLANTED"] = builtins.planted = planted
print(sum(int(x) for x in input().split()), state)
"""
LIMITS = Limits(fuel=2_000_000_000, cpu_seconds=0.5, memory_bytes=256 << 20, output_bytes=1 << 20)


@dataclass(frozen=True)
class Attack:
    """One attack program."""

    category: str
    name: str
    mode: Mode
    program: str

    def task(self, targets: dict[str, object]) -> Task:
        """Return the task that runs the attack with `targets` as H and its name for MARK."""
        source = f"{PRELUDE}\nH = {targets!r}\n{self.program.replace(MARK, str(targets['mark']))}"
        call = json.dumps({"function": "f", "args": [], "kwargs": {}})
        return Task(self.mode, source, ("41\n",) if self.mode == "stdin" else (call,))


def load() -> list[Attack]:
    """Read all attacks."""
    attacks = []
    for path in sorted(Path(__file__).parent.glob("attacks/*.txt")):
        for block in path.read_text(encoding="utf-8").split("\n== ")[1:]:
            title, program = block.split("\n", 1)
            category, name = title.removesuffix(" [call]").split(": ", 1)
            attacks.append(Attack(category, name, "call" if title.endswith(" [call]") else "stdin", program))
    return attacks


def sample(attacks: list[Attack]) -> list[Attack]:
    """Return the first attack of each category."""
    return [*{attack.category: attack for attack in reversed(attacks)}.values()]


def run_honest(sandbox: Sandbox, token: str) -> Outcome:
    """Run the honest program, which leaves `token` behind wherever it can."""
    [outcome] = sandbox.run(Task("stdin", HONEST.replace("{token}", token), ("20 22\n",)), LIMITS).outcomes
    return outcome
