"""Measure the cost of a small program in the sandbox against a fresh interpreter under bubblewrap (or a bare one).

    python benchmarks/sandbox.py [tier] [executions]

Prints one JSON line per figure, measured on one core. A ratio above 1 means that the sandbox is faster.
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
INPUT, OUTPUT = "100\n", "328350\n"
BWRAP = "bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-all --die-with-parent".split()


def milliseconds(execute: Callable[[], str], count: int) -> list[float]:
    """Return the sorted wall times of `count` executions, and check the output of each."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        printed = execute()
        times.append((time.perf_counter() - start) * 1e3)
        assert printed == OUTPUT, printed
    return sorted(times)


def in_subprocess(prefix: list[str]) -> Callable[[], str]:
    """Return a function that runs the program in a new interpreter started by the command `prefix`."""
    command = [*prefix, sys.executable, "-I", "-S", "-c", PROGRAM]
    return lambda: subprocess.run(command, input=INPUT, capture_output=True, text=True, check=True).stdout


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB. Between tasks: a task may use up to its own limit."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tier", nargs="?", default="wasm")
    parser.add_argument("executions", nargs="?", type=int, default=1000)
    options = parser.parse_args()
    machine = describe()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # this process and its children
    peer_name = "bwrap" if shutil.which("bwrap") else "python -I -S"
    sandbox = open_sandbox(options.tier)
    task = Task("stdin", PROGRAM, (INPUT,))
    try:
        ours = milliseconds(lambda: str(sandbox.run(task, Limits()).outcomes[0].value), options.executions)
        resident = resident_mb(sandbox.pid) if hasattr(sandbox, "pid") else None
    finally:
        sandbox.close()
    peer = milliseconds(in_subprocess(BWRAP if peer_name == "bwrap" else []), max(options.executions // 10, 20))
    machine += f"; peer: {peer_name}"

    def show(name: str, unit: str, mine: float, theirs: float | None, ratio: float | None) -> None:
        line = {"bench": f"sandbox_{options.tier}_{name}", "ours": round(mine, 3), "peer": theirs and round(theirs, 3)}
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
