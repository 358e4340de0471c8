"""Throughput of RL with slow verifiers, with and without overlap (paper, section 5: software engineering).

python studies/slow_rewards.py --seeds 0

Tests of software take seconds to minutes for each completion. Three ways to run them, in several worker processes:

    after        when all completions of the rollout are sampled
    beside       each as soon as it is sampled (what r1kit does)
    ahead        so, and the next rollout is sampled and graded beside the updates (`rollouts_ahead = 1`)

The waiting uses no core, as if the tests ran on other machines.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from slow_tests import SECONDS
from study import main, markdown

from r1kit.config import RL
from r1kit.data.prompt import Prompt
from r1kit.engine.base import Finished
from r1kit.metrics.log import read_metrics
from r1kit.model.reference import resolve_model
from r1kit.recipe import load_recipe
from r1kit.rewards.services import Settings
from r1kit.stages.context import StageContext
from r1kit.stages.rl import Trainer
from r1kit.stages.rl_rewards import RLRewards
from r1kit.types import Completion, Score

WAYS = ("after", "beside", "ahead")


@dataclass(frozen=True)
class Sizes:
    """How much is computed."""

    seconds: tuple[float, ...] = (0.5, 2.0, 5.0)  # median of a completion
    workers: int = 16  # completions graded at the same time
    steps: int = 4
    prompts_per_step: int = 8
    num_generations: int = 8


TINY = Sizes(seconds=(0.01,), workers=2, steps=2, prompts_per_step=2, num_generations=2)


class GradedAfterwards(RLRewards):
    """Rewards that start when all completions are sampled."""

    def scorer_of_finished(self, prompts: Sequence[Prompt]) -> Finished | None:
        """Keep the completions until the first is to be scored."""
        self.begin, self.kept = super().scorer_of_finished(prompts), list[Completion]()
        return self.kept.append

    def score(self, prompt: Prompt, completions: Sequence[Completion]) -> list[Score]:
        """Start all, then collect those of one prompt."""
        while self.kept and self.begin is not None:
            self.begin(self.kept.pop(0))
        return super().score(prompt, completions)


def train(way: str, seconds: float, sizes: Sizes, seed: int) -> dict[str, float]:
    """Train for some steps. Return the seconds of a step: all, and those the trainer waits for the rollout."""
    os.environ[SECONDS] = str(seconds)
    keys = {"prompts_per_step": sizes.prompts_per_step, "num_generations": sizes.num_generations}
    keys |= {"steps": sizes.steps, "rollouts_ahead": int(way == "ahead"), "eval_every": 0, "benchmarks": {}}
    keys |= {"rewards": {"accuracy": 1.0, "format": 1.0, "slow_tests:run": 0.0}}
    config = RL.model_validate({**load_recipe("sprout-zero").stage["zero"].model_dump(), **keys})
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        context = StageContext(
            name=way,
            dir=Path(directory),
            seed=seed,
            dtype="float32",
            device="cpu",
            max_concurrent=512,
            models={config.model: resolve_model(config.model)},
            reward_workers=sizes.workers,
            grading=asdict(Settings(folder=str(Path(__file__).parent))),
        )
        trainer = Trainer(config, context)
        if way == "after":
            trainer.rewards = GradedAfterwards(config, context, trainer.prompts)
        for part in (trainer.checkpoints, trainer.ahead, trainer.rewards):
            stack.enter_context(part)
        trainer.advance()  # starts the processes
        start = time.monotonic()
        while not trainer.is_done:
            trainer.advance()
        each = (time.monotonic() - start) / (sizes.steps - 1)
        rows = list(read_metrics(trainer.log.path))[1:]
    waited = fmean(row["time/rollout"] + row["time/grade"] for row in rows)
    return {"step": each, "waited": waited, "update": fmean(row["time/update"] for row in rows)}


def study(seed: int, sizes: Sizes) -> dict[str, Any]:
    """Run the study with one seed; return what `page` shows."""
    times = {str(seconds): {way: train(way, seconds, sizes, seed) for way in WAYS} for seconds in sizes.seconds}
    return {"completions": sizes.prompts_per_step * sizes.num_generations, "workers": sizes.workers, "times": times}


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the results of all seeds as Markdown."""
    completions, workers = results[0]["completions"], results[0]["workers"]
    lines = [
        ["seconds of a test", "tests run", "step, s", "waiting for completions and tests, s", "completions/s", "saved"]
    ]
    lines.append(["---:", "---", *["---:"] * 4])
    for seconds in results[0]["times"]:
        mean = {
            way: {key: fmean(result["times"][seconds][way][key] for result in results) for key in ("step", "waited")}
            for way in WAYS
        }
        for way in WAYS:
            step, waited = mean[way]["step"], mean[way]["waited"]
            saved = f"{1 - step / mean['after']['step']:.0%}" if way != "after" else ""
            lines.append([seconds, way, f"{step:.2f}", f"{waited:.2f}", f"{completions / step:.1f}", saved])
    return f"{completions} completions a step, {workers} worker processes.\n\n{markdown(lines)}"


if __name__ == "__main__":
    main("slow_rewards", study, page, Sizes(), TINY)
