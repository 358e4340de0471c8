"""Measure the share of sprout-zero's training time that checkpoints take.

python benchmarks/overheads.py --steps 12

Training waits while the state is copied, and the background thread that writes it takes CPU time from training. The
overhead is the sum of both; it is an upper bound.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median

from machine import describe

from r1kit.hashing import derive_seed
from r1kit.learn.checkpoint import Checkpoints
from r1kit.machine import tune_allocator
from r1kit.model.reference import resolve_model
from r1kit.recipe import load_recipe
from r1kit.stages.context import StageContext

GOAL = 0.03  # of the training time


@contextmanager
def writing_times() -> Iterator[list[tuple[float, float]]]:
    """Collect (CPU seconds, seconds) of every checkpoint that is written."""
    write, times = Checkpoints._write, []

    def timed(*args: object) -> None:
        cpu, wall = time.thread_time(), time.monotonic()
        write(*args)
        times.append((time.thread_time() - cpu, time.monotonic() - wall))

    Checkpoints._write = timed
    yield times
    Checkpoints._write = write


def checkpoint_share(steps: int) -> dict[str, float]:
    """Save after each of `steps` steps; return means, and the share of time at the recipe's own save_every."""
    from r1kit.stages.rl import Trainer

    recipe = load_recipe("sprout-zero")
    config = recipe.stage["zero"].model_copy(update={"eval_every": 0})
    models = {config.model: resolve_model(config.model)}
    with tempfile.TemporaryDirectory() as directory, writing_times() as written:
        seed = derive_seed(recipe.seed, "zero")
        context = StageContext("zero", Path(directory), seed, "float32", "cpu", recipe.max_concurrent, models)
        trainer, stepping, waiting = Trainer(config, context), [], []
        with trainer.checkpoints:
            for _ in range(steps):
                start = time.monotonic()
                trainer.advance()
                stepping.append(time.monotonic() - start)
                trainer.save(stopping=True)
                waiting.append(trainer.seconds_saving["time/save"])
        size = sum(path.stat().st_size for path in trainer.checkpoints.newest().iterdir())
    lost = fmean(waiting) + fmean(cpu for cpu, _ in written)
    return {
        "share": lost / (config.save_every * median(stepping)),
        "step_seconds": median(stepping),
        "waiting_seconds": fmean(waiting),
        "writing_cpu_seconds": fmean(cpu for cpu, _ in written),
        "writing_seconds": fmean(wall for _, wall in written),
        "megabytes": size / 1e6,
        "save_every": config.save_every,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    tune_allocator()
    result = checkpoint_share(parser.parse_args().steps)
    print("\n".join(f"{name:<20} {value:.4g}" for name, value in result.items()))
    line = {"bench": "checkpoint_overhead", "ours": result["share"], "peer": GOAL, "ratio": GOAL / result["share"]}
    print(json.dumps({**line, "unit": "share of step time, and the goal", "machine": describe()}))


if __name__ == "__main__":
    main()
