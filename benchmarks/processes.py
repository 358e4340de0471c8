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
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from machine import describe, today

from r1kit.metrics.log import read_metrics
from r1kit.recipe import dump_toml, load_recipe

ROOT = Path(__file__).parents[1]
PHASES = ("time/step", "time/rollout", "time/grade", "time/update")
LOG = Path("stages/zero/metrics.jsonl")


@dataclass(frozen=True)
class Result:
    """One run: mean seconds of a step by phase, and pass@1 after training."""

    seconds: dict[str, float]
    accuracy: float


def write_recipe(runs: Path) -> Path:
    """Write sprout-zero without its evaluation of the base model; return the recipe."""
    recipe = load_recipe("sprout-zero")
    stages = {name: stage for name, stage in recipe.stage.items() if name != "base"}
    runs.mkdir(parents=True, exist_ok=True)
    file = runs / "recipe.toml"
    file.write_text(dump_toml(recipe.model_copy(update={"stage": stages})), encoding="utf-8")
    return file


def run(recipe: Path, processes: int, threads: int, seed: int, changes: list[str], kill: int) -> Result:
    """Run or continue the recipe with a number of processes, in processes of their own."""
    directory = recipe.with_name(f"processes-{processes}-seed-{seed}")
    command = [sys.executable, "-m", "r1kit", "run", str(recipe), "--run-dir", str(directory), "--json"]
    command += ["--seed", str(seed)]
    command += [word for change in [f"processes={processes}", *changes] for word in ("--set", change)]
    each = str(max(1, threads // processes))
    environment = {**os.environ, "OMP_NUM_THREADS": each, "MKL_NUM_THREADS": each}
    is_new = not (directory / LOG).exists()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        if kill and processes > 1 and is_new:
            kill_rank(child, directory / LOG, kill, random.Random(seed))
        output = child.communicate()[0]
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    evals = json.loads(output.splitlines()[-1])["evals"]
    rows = read_metrics(directory / LOG)[1:]  # the first step allocates memory
    seconds = {name: fmean(row.get(name, 0.0) for row in rows) for name in PHASES}
    seconds["time/step"] -= fmean(row.get("time/eval", 0.0) for row in rows)
    return Result(seconds, evals["zero_eval"]["benchmarks"]["sprout"]["pass@1"])


def kill_rank(launcher: subprocess.Popen[str], log: Path, rows: int, drawn: random.Random) -> None:
    """Kill a random rank of a run when its log has this many rows."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    while launcher.poll() is None and len(read_metrics(log)) < rows:
        time.sleep(0.1)
    listed = [int(pid) for pid in children.read_text().split()] if launcher.poll() is None else []
    ranks = [pid for pid in listed if b"r1kit" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    if ranks:
        os.kill(drawn.choice(ranks), signal.SIGKILL)


def table(results: dict[int, list[Result]]) -> str:
    """Return a Markdown table with a row for each number of processes."""
    lines = [["processes", *(f"{name.removeprefix('time/')}, s" for name in PHASES), "pass@1"]]
    lines.append(["---:"] * len(lines[0]))
    for processes, runs in results.items():
        means = [f"{fmean(each.seconds[name] for each in runs):.2f}" for name in PHASES]
        lines.append([str(processes), *means, f"{100 * fmean(each.accuracy for each in runs):.1f} %"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
    recipe, threads = write_recipe(arguments.runs / kind), max(arguments.processes)
    results = {
        processes: [run(recipe, processes, threads, seed, changes, arguments.kill) for seed in arguments.seeds]
        for processes in arguments.processes
    }
    print(f"\n{describe()}, {today()}; seeds {' '.join(map(str, arguments.seeds))}\n")
    print(table(results), end="\n\n")
    line: dict[str, object] = {"bench": "processes"}
    first = results[arguments.processes[0]]
    for processes, runs in results.items():
        gains = [100 * (b.accuracy - a.accuracy) for a, b in zip(first, runs, strict=True)]
        points = ", ".join(f"seed {seed} {gain:+.1f}" for seed, gain in zip(arguments.seeds, gains, strict=True))
        print(f"{processes} process(es): pass@1 {fmean(gains):+.1f} points ({points})")
        accuracy = [each.accuracy for each in runs]
        line[f"processes_{processes}"] = {"pass@1": accuracy, "points": fmean(gains), "points_by_seed": gains}
    print(json.dumps({**line, "unit": "points of pass@1", "machine": describe()}))


if __name__ == "__main__":
    main()
