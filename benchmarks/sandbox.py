"""What an execution of a small program costs in the sandbox, beside a fresh interpreter under bubblewrap (or bare).

python benchmarks/sandbox.py [tier] [executions]; a JSON line a figure, on one core. A ratio above 1 is in our favour.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from machine import describe

from r1kit.rewards.sandbox import open_sandbox
from r1kit.rewards.sandbox.base import Limits, Task

PROGRAM = "n = int(input())\nprint(sum(i * i for i in range(n)))"
GIVEN, PRINTED = "100\n", "328350\n"
BWRAP = "bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-all --die-with-parent".split()


def milliseconds(execute: Callable[[], str], count: int) -> list[float]:
    """Sorted wall times of `count` executions, each checked."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        printed = execute()
        times.append((time.perf_counter() - start) * 1e3)
        assert printed == PRINTED, printed
    return sorted(times)


def in_subprocess(prefix: list[str]) -> Callable[[], str]:
    command = [*prefix, sys.executable, "-I", "-S", "-c", PROGRAM]
    return lambda: subprocess.run(command, input=GIVEN, capture_output=True, text=True, check=True).stdout


def resident_mb(pid: int) -> float:
    """Between tasks: what a task itself takes is up to its limit."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tier", nargs="?", default="wasm")
    parser.add_argument("executions", nargs="?", type=int, default=1000)
    asked = parser.parse_args()
    machine = describe()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # this process and all it starts
    peer_name = "bwrap" if shutil.which("bwrap") else "python -I -S"
    sandbox = open_sandbox(asked.tier)
    task = Task("stdin", PROGRAM, (GIVEN,))
    try:
        ours = milliseconds(lambda: sandbox.run(task, Limits()).outcomes[0].value, asked.executions)
        resident = resident_mb(sandbox.pid) if hasattr(sandbox, "pid") else None
    finally:
        sandbox.close()
    peer = milliseconds(in_subprocess(BWRAP if peer_name == "bwrap" else []), max(asked.executions // 10, 20))
    machine += f"; peer: {peer_name}"

    def show(name: str, unit: str, mine: float, theirs: float | None, ratio: float | None) -> None:
        line = {"bench": f"sandbox_{asked.tier}_{name}", "ours": round(mine, 3), "peer": theirs and round(theirs, 3)}
        print(json.dumps({**line, "ratio": ratio and round(ratio, 2), "unit": unit, "machine": machine}))

    for name, share in (("p50", 0.5), ("p99", 0.99)):
        mine, theirs = (times[int(share * (len(times) - 1))] for times in (ours, peer))
        show(name, "ms", mine, theirs, theirs / mine)
    rates = [1e3 * len(times) / sum(times) for times in (ours, peer)]
    show("rate", "executions/s/core", *rates, rates[0] / rates[1])
    if resident is not None:
        show("resident", "MB a worker", resident, None, None)


if __name__ == "__main__":
    main()
