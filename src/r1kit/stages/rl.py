"""The RL stage: GRPO on problems whose answers can be checked.

    prompts -> engine -> completions -> rewards -> advantages -> learner, steps_per_rollout updates a rollout

Randomness comes from the stage's seed and the step only, so a run that stops anywhere goes on from its last checkpoint
as if it had not. Checkpoints stand between rollouts: no half-used rollout has to be kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import torch

from r1kit.artifact import StageContext, derive_seed
from r1kit.config import RL
from r1kit.data.prompts import PromptStream, load_problems
from r1kit.data.store import write_jsonl
from r1kit.engine.base import Engine
from r1kit.engine.native import NativeEngine
from r1kit.evals.runner import evaluate, load_benchmarks, prompt_ids, sampling_params
from r1kit.learn import checkpoint
from r1kit.learn.advantage import group_advantages
from r1kit.learn.batch import make_batch
from r1kit.learn.learner import Learner
from r1kit.learn.loss import UNSCALED
from r1kit.log import MetricsLog, progress
from r1kit.model.hf import load_model, load_tokenizer, publish_model
from r1kit.stages.rollout import Group, Rollout, collect, describe, rows


def run(config: RL, context: StageContext) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, and publish model/. The summary is the totals."""
    trainer = Trainer(config, context)
    trainer.restore()
    with progress(context.name, config.steps) as bar:
        bar.advance(trainer.step)
        while trainer.step < config.steps:
            for row in trainer.rollout_and_learn():
                bar.advance(reward=row["reward"], length=row["completions/mean_length"])
    publish_model(trainer.learner.model, trainer.tokenizer, context.dir / "model")
    return {"steps": trainer.step, "prompts": trainer.cursor, "tokens": trainer.tokens}


class Trainer:
    """An RL stage under way."""

    def __init__(self, config: RL, context: StageContext):
        self.config, self.context = config, context
        self.tokenizer = load_tokenizer(context.models[config.model])
        model = load_model(context.models[config.model], getattr(torch, context.dtype), context.device)
        self.learner = Learner(model, config)
        self.engine: Engine = NativeEngine(model, self.tokenizer, context.max_concurrent)
        self.prompts = PromptStream(load_problems(config.prompts), derive_seed(context.seed, "prompts"))
        self.benchmarks = load_benchmarks(config.benchmarks)
        self.checkpoints = context.dir / "checkpoints"
        self.log = MetricsLog(context.dir / "metrics.jsonl")
        self.step, self.cursor, self.tokens = 0, 0, 0  # updates done, prompts drawn, completion tokens generated
        self.saved_step = 0
        self.seconds_saving: dict[str, float] = {}  # shown with the next step

    def restore(self) -> None:
        """Go back to the newest checkpoint, and forget what was logged after it."""
        saved = checkpoint.restore(self.learner, self.checkpoints)
        if saved:
            self.step, self.cursor, self.tokens = saved["step"], saved["cursor"], saved["tokens"]
            self.saved_step = self.step
        self.log.truncate_after(self.step)

    def rollout_and_learn(self) -> Iterator[dict[str, Any]]:
        """One rollout and the updates it feeds; yields the metrics of each."""
        start = time.monotonic()
        rollout = collect(
            self.engine,
            self.tokenizer,
            self.prompts,
            self.config,
            seed=self.context.seed,
            cursor=self.cursor,
            step=self.step,
        )
        self.cursor += len(rollout.drawn)
        self.tokens += rollout.tokens
        shown = describe(rollout, list(self.config.rewards)) | {"tokens": self.tokens}
        phases = {"time/rollout": rollout.seconds_generating, "time/grade": rollout.seconds_grading}
        phases |= self.seconds_saving
        minibatches = self._minibatches(rollout)[: self.config.steps - self.step]
        for index, groups in enumerate(minibatches):
            row = {**shown, **self._update(groups, on_policy=index == 0), **phases, **self._evaluate()}
            row = {"step": self.step, **row, "time/step": time.monotonic() - start}
            self.log.append(row)
            yield row
            start, phases = time.monotonic(), {}  # the rollout's time belongs to its first update
        self._save()  # after the log: a row may be written twice, never be missing

    def _minibatches(self, rollout: Rollout) -> list[list[Group]]:
        """Whole groups at random, prompts_per_step an update (the paper: 32 unique questions a step)."""
        groups, size = list(rollout.groups), self.config.prompts_per_step
        Random(derive_seed(self.context.seed, "minibatches", self.step)).shuffle(groups)
        return [groups[i : i + size] for i in range(0, len(groups), size)]

    def _update(self, groups: Sequence[Group], on_policy: bool) -> dict[str, float]:
        """One policy update. Only a rollout's first trains the very policy that sampled: only there a gap is an error."""
        start = time.monotonic()
        advantages_PG = group_advantages(
            torch.tensor([group.rewards for group in groups]), scale_by_std=self.config.objective not in UNSCALED
        )
        batch = make_batch(
            [prompt_ids(group.problem, self.config.template, self.tokenizer) for group in groups],
            [group.completions for group in groups],
            advantages_PG,
            temperature=self.config.temperature,
            mask_truncated=self.config.mask_truncated_completions,
            device=self.context.device,
        )
        metrics = self.learner.step(batch, self.step)
        self.step += 1
        self.engine.load_weights(self.learner.model, self.step)
        seconds = time.monotonic() - start
        if self.step == 1 or self.step % self.config.log_rollouts_every == 0:
            path = self.context.dir / "rollouts" / f"step_{self.step:06d}.jsonl"
            write_jsonl(path, rows(self.step, groups, advantages_PG.tolist()))
        metrics = {k: v for k, v in metrics.items() if on_policy or not k.startswith("sampling/")}
        return {**metrics, "time/update": seconds}

    def _evaluate(self) -> dict[str, float]:
        """Held-out accuracy every eval_every steps, sampled as in training."""
        config = self.config
        if not self.benchmarks or not config.eval_every or self.step % config.eval_every:
            return {}
        start = time.monotonic()
        seed = derive_seed(self.context.seed, "evaluate", self.step)
        found = evaluate(
            self.engine,
            self.tokenizer,
            self.benchmarks,
            template=config.template,
            samples=config.eval_samples,
            params=sampling_params(config, seed, config.completion_cap(self.step)),
        )
        keys = ("pass@1", f"cons@{config.eval_samples}", "format_rate")
        measured = {f"eval/{name}/{key}": summary[key] for name, summary in found.benchmarks.items() for key in keys}
        return measured | {"time/eval": time.monotonic() - start}

    def _save(self) -> None:
        self.seconds_saving = {}
        if self.step - self.saved_step < self.config.save_every and self.step < self.config.steps:
            return
        start = time.monotonic()
        made = {"step": self.step, "cursor": self.cursor, "tokens": self.tokens}
        checkpoint.save(self.learner, made, self.checkpoints)
        self.saved_step = self.step
        self.seconds_saving = {"time/save": time.monotonic() - start}
