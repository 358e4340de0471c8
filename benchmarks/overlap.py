"""Compare sprout-zero with `rollouts_ahead = 1` and without: seconds of a step, and accuracy on held-out problems.

python benchmarks/overlap.py --seeds 0 1 2
python benchmarks/overlap.py --seeds 0 --steps 6 --threads 1 --wait 0.01     (a trial of a few minutes)

With --threads 2 on two cores, alternating phases have both cores; ahead, the learner has two threads and the engine a
third, so that both share the cores and little can be gained. With 1, either has a core of its own when they overlap, as
two devices would; alternating, one of them is idle.

With --wait, every completion is also given to a reward that waits so many seconds in a worker process, as a judge or a
slow program does. Waiting takes no core: this is where rollouts ahead pay on any machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from machine import describe, today
from sprout_zero import PHASES, ROOT, points, table, train, write_recipe

WAITING = ["reward_workers=8", 'stage.zero.rewards={ accuracy = 1.0, format = 1.0, "waiting:wait" = 0.0 }']
REWARD = """
import time

def wait(problem, text):
    time.sleep({seconds})
    return 0.0
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--steps", type=int, help="of training; the recipe's by default")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="of the reward, for each completion")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "overlap")
    arguments = parser.parse_args()
    runs = arguments.runs / f"steps-{arguments.steps or 'all'}-wait-{arguments.wait:g}"
    write_recipe(runs)
    (runs / "waiting.py").write_text(REWARD.format(seconds=arguments.wait))
    changes = [f"stage.zero.steps={arguments.steps}"] if arguments.steps else []
    changes += WAITING if arguments.wait else []
    results = {}
    for ahead in (0, 1):
        setting = [f"stage.zero.rollouts_ahead={ahead}", *changes]
        results["ahead" if ahead else "alternating"] = [
            train(runs / f"threads-{arguments.threads}-ahead-{ahead}-seed-{seed}", seed, setting, arguments.threads)
            for seed in arguments.seeds
        ]
    seeds = " ".join(map(str, arguments.seeds))
    print(f"\n{describe()}, {today()}; seeds {seeds}, {arguments.threads} thread(s), {arguments.wait:g} s of waiting\n")
    print(table("rollouts", results, (*PHASES, "overlapped")), end="\n\n")
    print(json.dumps({"bench": "overlap", **points(results), "unit": "points of pass@1", "machine": describe()}))


if __name__ == "__main__":
    main()
