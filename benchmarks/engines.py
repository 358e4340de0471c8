"""Compare sprout-zero trained with r1kit's own engine and with vLLM: accuracy on held-out problems, seconds of a step.

python benchmarks/engines.py --seeds 0 1 2 --engines native vllm
python benchmarks/engines.py --seeds 0 --engines native http://127.0.0.1:8000

`vllm` needs vLLM in this environment (`make test-vllm` makes one); a URL, a server started as in docs/vllm.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from machine import describe, today
from sprout_zero import ROOT, points, table, train, write_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--engines", nargs="+", default=["native", "vllm"], metavar="NAME|URL")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--steps", type=int, help="of training; the recipe's by default")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "engines")
    arguments = parser.parse_args()
    runs = arguments.runs / f"steps-{arguments.steps or 'all'}"
    write_recipe(runs)
    changes = [f"stage.zero.steps={arguments.steps}"] if arguments.steps else []
    results = {}
    for engine in arguments.engines:
        name, value = ("server", json.dumps([engine])) if "://" in engine else (engine, engine)
        setting = [f"engine={value}", *changes]
        results[name] = [
            train(runs / f"{name}-seed-{seed}", seed, setting, arguments.threads) for seed in arguments.seeds
        ]
    print(f"\n{describe()}, {today()}; seeds {' '.join(map(str, arguments.seeds))}\n")
    print(table("engine", results), end="\n\n")
    print(json.dumps({"bench": "engines", **points(results), "unit": "points of pass@1", "machine": describe()}))


if __name__ == "__main__":
    main()
