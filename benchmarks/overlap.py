"""Compare sprout-zero with `rollouts_ahead = 1` and without: seconds of a step, and accuracy on held-out problems.

python benchmarks/overlap.py --seeds 0 1 2
python benchmarks/overlap.py --seeds 0 --steps 6 --settings 1 --wait 0.01     (a trial of a few minutes)

Settings are threads of torch. With 2 on two cores, alternating phases have both cores; ahead, the learner has two
threads and the engine a third, so that both share the cores and little can be gained. With 1, either has a core of its
own when they overlap, as two devices would; alternating, one of them is idle.

With --wait, every completion is also given to a reward that waits so many seconds in a worker process, as a judge or a
slow program does. Waiting takes no core: this is where rollouts ahead pay on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from machine import describe, today

from r1kit.metrics.log import read_metrics
from r1kit.recipe import dump_toml, load_recipe

ROOT = Path(__file__).parents[1]
PHASES = ("time/step", "time/rollout", "time/grade", "time/update")
OVERLAPPED = ("time/overlapped/rollout", "time/overlapped/grade")
WAITING = ["reward_workers=8", 'stage.zero.rewards={ accuracy = 1.0, format = 1.0, "waiting:wait" = 0.0 }']
REWARD = """
import time

def wait(problem, text):
    time.sleep({seconds})
    return 0.0
"""


@dataclass(frozen=True)
class Result:
    """One run: mean seconds of a step by phase, and pass@1 after training."""

    seconds: dict[str, float]
    accuracy: float


def write_recipe(runs: Path, wait: float) -> Path:
    """Write sprout-zero without its evaluation of the base model, and the reward that waits; return the recipe."""
    recipe = load_recipe("sprout-zero")
    stages = {name: stage for name, stage in recipe.stage.items() if name != "base"}
    runs.mkdir(parents=True, exist_ok=True)
    (runs / "waiting.py").write_text(REWARD.format(seconds=wait))
    file = runs / "recipe.toml"
    file.write_text(dump_toml(recipe.model_copy(update={"stage": stages})), encoding="utf-8")
    return file


def run(recipe: Path, threads: int, ahead: int, seed: int, changes: list[str]) -> Result:
    """Run or continue the recipe with one setting, in a process of its own."""
    directory = recipe.with_name(f"threads-{threads}-ahead-{ahead}-seed-{seed}")
    command = [sys.executable, "-m", "r1kit", "run", str(recipe), "--run-dir", str(directory), "--json"]
    command += ["--seed", str(seed)]
    command += [word for change in [f"stage.zero.rollouts_ahead={ahead}", *changes] for word in ("--set", change)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    evals = json.loads(done.stdout.splitlines()[-1])["evals"]
    rows = read_metrics(directory / "stages/zero/metrics.jsonl")[1:]  # the first step allocates memory
    seconds = {name: fmean(row.get(name, 0.0) for row in rows) for name in PHASES}
    seconds["time/step"] -= fmean(row.get("time/eval", 0.0) for row in rows)
    seconds["overlapped"] = fmean(sum(row.get(name, 0.0) for name in OVERLAPPED) for row in rows)
    return Result(seconds, evals["zero_eval"]["benchmarks"]["sprout"]["pass@1"])


def table(results: dict[tuple[int, int], list[Result]]) -> str:
    """Return a Markdown table with a row for each number of threads, alternating and ahead."""
    columns = (*PHASES, "overlapped")
    head = ["threads", "rollouts", *(f"{name.removeprefix('time/')}, s" for name in columns), "saved", "pass@1"]
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)]
    for (threads, ahead), runs in results.items():
        means = [fmean(each.seconds[name] for each in runs) for name in columns]
        before = fmean(each.seconds["time/step"] for each in results[threads, 0])
        saved = f"{1 - means[0] / before:.0%}" if ahead else ""
        accuracy = f"{100 * fmean(each.accuracy for each in runs):.1f} %"
        lines.append([str(threads), "ahead" if ahead else "alternating", *(f"{x:.2f}" for x in means), saved, accuracy])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(results: dict[tuple[int, int], list[Result]], seeds: list[int]) -> dict[str, Any]:
    """Return the seconds saved and the difference in accuracy of each number of threads."""
    lines: dict[str, Any] = {}
    for threads in dict.fromkeys(threads for threads, _ in results):
        plain, ahead = results[threads, 0], results[threads, 1]
        gains = [100 * (b.accuracy - a.accuracy) for a, b in zip(plain, ahead, strict=True)]
        saved = [a.seconds["time/step"] - b.seconds["time/step"] for a, b in zip(plain, ahead, strict=True)]
        points = ", ".join(f"seed {seed} {gain:+.1f}" for seed, gain in zip(seeds, gains, strict=True))
        print(f"{threads} thread(s): {fmean(saved):+.2f} s saved a step; pass@1 {fmean(gains):+.1f} points ({points})")
        lines[f"threads_{threads}"] = {"seconds_saved": fmean(saved), "points": fmean(gains), "points_by_seed": gains}
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--settings", type=int, nargs="+", default=[2, 1], metavar="THREADS")
    parser.add_argument("--steps", type=int, help="of training; the recipe's by default")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="of the reward, for each completion")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "overlap")
    arguments = parser.parse_args()
    runs = arguments.runs / f"steps-{arguments.steps or 'all'}-wait-{arguments.wait:g}"
    recipe = write_recipe(runs, arguments.wait)
    changes = [f"stage.zero.steps={arguments.steps}"] if arguments.steps else []
    changes += WAITING if arguments.wait else []
    results = {
        (threads, ahead): [run(recipe, threads, ahead, seed, changes) for seed in arguments.seeds]
        for threads in arguments.settings
        for ahead in (0, 1)
    }
    print(f"\n{describe()}, {today()}; seeds {' '.join(map(str, arguments.seeds))}, {arguments.wait:g} s of waiting\n")
    print(table(results), end="\n\n")
    line = {"bench": "overlap", **summary(results, arguments.seeds)}
    print(json.dumps({**line, "unit": "seconds a step, points of pass@1", "machine": describe()}))


if __name__ == "__main__":
    main()
