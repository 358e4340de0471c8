"""Compare sprout-zero trained by one process and by several: accuracy on held-out problems, and seconds of a step.

python benchmarks/processes.py --seeds 0 1 2
python benchmarks/processes.py --seeds 0 --steps 4 --processes 1 2 --kill 1     (a trial of a few minutes)

Every run has as many threads in all as the largest number of processes. With --kill N, a random rank of every run of
several processes is killed after N updates: the run restarts it and continues.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

from machine import describe, today
from sprout_zero import ROOT, log_of, points, table, train, write_recipe

from r1kit.metrics.log import read_metrics


def kill_rank(log: Path, rows: int, drawn: random.Random, launcher: subprocess.Popen[str]) -> None:
    """Kill a random rank of a run when its log has this many rows."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    while launcher.poll() is None and len(read_metrics(log)) < rows:
        time.sleep(0.1)
    listed = [int(pid) for pid in children.read_text().split()] if launcher.poll() is None else []
    ranks = [pid for pid in listed if b"r1kit" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    if ranks:
        os.kill(drawn.choice(ranks), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, help="of training; the recipe's by default")
    parser.add_argument("--shard-weights", action="store_true", help="set shard_weights = true")
    parser.add_argument("--kill", type=int, default=0, metavar="UPDATES", help="after which a rank is killed")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "processes")
    arguments = parser.parse_args()
    changes = [f"stage.zero.steps={arguments.steps}"] if arguments.steps else []
    changes += ["stage.zero.shard_weights=true"] if arguments.shard_weights else []
    kind = f"steps-{arguments.steps or 'all'}-kill-{arguments.kill}{'-shared' * arguments.shard_weights}"
    write_recipe(arguments.runs / kind)
    threads = max(arguments.processes)
    results = {}
    for processes in arguments.processes:
        runs = []
        for seed in arguments.seeds:
            directory = arguments.runs / kind / f"processes-{processes}-seed-{seed}"
            kill = partial(kill_rank, log_of(directory), arguments.kill, random.Random(seed))
            kills = arguments.kill and processes > 1 and not log_of(directory).exists()
            setting = [f"processes={processes}", *changes]
            runs.append(train(directory, seed, setting, max(1, threads // processes), kill if kills else None))
        results[str(processes)] = runs
    print(f"\n{describe()}, {today()}; seeds {' '.join(map(str, arguments.seeds))}\n")
    print(table("processes", results), end="\n\n")
    print(json.dumps({"bench": "processes", **points(results), "unit": "points of pass@1", "machine": describe()}))


if __name__ == "__main__":
    main()
