"""The RL stage: GRPO on problems whose answers can be checked.

    prompts -> engine -> completions -> rewards -> advantages -> learner, steps_per_rollout updates a rollout

Randomness comes from the stage's seed and the step only, so a run that stops anywhere goes on from its last checkpoint
as if it had not. A checkpoint between two updates of one rollout holds it: the policy that sampled it is gone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from random import Random
from typing import Any

import torch

from r1kit.config import RL
from r1kit.console import progress
from r1kit.data.store import write_jsonl
from r1kit.engine.base import Engine
from r1kit.engine.factory import make_engine
from r1kit.evals.runner import evaluate, load_benchmarks
from r1kit.hashing import derive_seed
from r1kit.interrupt import defer_signals
from r1kit.learn.advantage import group_advantages
from r1kit.learn.batch import make_batch
from r1kit.learn.checkpoint import Checkpoints
from r1kit.learn.learner import Learner
from r1kit.learn.loss import OBJECTIVES
from r1kit.metrics.log import read_metrics
from r1kit.metrics.watchdog_log import WatchdogLog
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_model, load_tokenizer, publish_model
from r1kit.rewards.workers.pool import open_sandbox_for
from r1kit.rollout.ask import prompt_ids, sampling_params
from r1kit.stages.context import StageContext
from r1kit.stages.rollout import Group, Rollout, collect, describe, pack, rows, unpack
from r1kit.stages.scenarios import Scenarios


def run(config: RL, context: StageContext) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, and publish model/. The summary is the totals."""
    trainer = Trainer(config, context)
    trainer.restore()
    with (
        trainer.scenarios,
        trainer.checkpoints,
        progress(context.name, config.steps) as bar,
        defer_signals() as stop_asked,
    ):
        bar.advance(trainer.step)
        stopping = False
        while trainer.step < config.steps and not stopping:
            row = trainer.advance()
            bar.advance(reward=row["reward"], length=row["completions/mean_length"])
            stopping = stop_asked()
            trainer.save(stopping)
    publish_model(trainer.learner.model, trainer.tokenizer, context.dir / "model")
    return {"steps": trainer.step, "prompts": trainer.cursor, "tokens": trainer.tokens}


class Trainer:
    """An RL stage under way."""

    def __init__(self, config: RL, context: StageContext):
        self.config, self.context = config, context
        self.tokenizer = load_tokenizer(context.models[config.model])
        model = load_model(context.models[config.model], torch_dtype(context.dtype), context.device)
        self.learner = Learner(model, config)
        self.engine: Engine = make_engine(model, self.tokenizer, context.max_concurrent)
        self.scenarios = Scenarios(config, context)
        self.benchmarks = load_benchmarks(config.benchmarks)
        open_sandbox_for(chain(self.scenarios.problems, *self.benchmarks.values()))
        self.log = WatchdogLog(context.dir / "metrics.jsonl", context.name, context.dtype, config.watchdogs)
        self.checkpoints = Checkpoints(context.dir / "checkpoints", self.log.files)
        self.step, self.cursor, self.tokens = 0, 0, 0  # updates done, prompts drawn, completion tokens generated
        self.rollout: Rollout | None = None  # the one whose updates are under way
        self.seconds_saving: dict[str, float] = {}  # shown with the next step

    def restore(self) -> None:
        """Go back to the newest checkpoint, and forget what was logged after it."""
        if saved := self.checkpoints.restore(self.learner):
            self.step, self.cursor, self.tokens = saved["step"], saved["cursor"], saved["tokens"]
            self.rollout = unpack(saved["rollout"], self.config) if saved["rollout"] else None
        self.engine.load_weights(self.learner.model, self.step)
        if logged := read_metrics(self.log.path):  # a micro-batch that once did not fit stays halved
            self.learner.micro_batch_tokens = logged[-1].get("micro_batch_tokens", self.config.micro_batch_tokens)

    def save(self, stopping: bool) -> None:
        """A checkpoint when it is time for one. After the log: a row may be written twice, never be missing."""
        self.seconds_saving = {}
        if not (stopping or self.step % self.config.save_every == 0 or self.step == self.config.steps):
            return
        start = time.monotonic()
        made = {"step": self.step, "cursor": self.cursor, "tokens": self.tokens}
        self.checkpoints.save(self.learner, {**made, "rollout": self.rollout and pack(self.rollout)})
        self.seconds_saving = {"time/save": time.monotonic() - start}

    def advance(self) -> dict[str, Any]:
        """One update, with a rollout before it when none is under way; returns the row that was logged."""
        start, phases = time.monotonic(), dict(self.seconds_saving)
        if self.rollout is None:
            self.rollout = self._roll_out()
            phases |= {"time/rollout": self.rollout.seconds_generating, "time/grade": self.rollout.seconds_grading}
            phases |= self.scenarios.take_report()
        shown = describe(self.rollout, self.config.reward_names) | {"tokens": self.tokens}
        minibatches = self._minibatches(self.rollout)
        index = self.step - self.rollout.step
        row = {**shown, **self._update(minibatches[index], on_policy=index == 0), **phases, **self._evaluate()}
        row = {"step": self.step, **row, "time/step": time.monotonic() - start}
        self.log.append(row)
        if index + 1 == len(minibatches) or self.step == self.config.steps:
            self.rollout = None
        return row

    def _roll_out(self) -> Rollout:
        rollout = collect(
            self.engine,
            self.tokenizer,
            self.scenarios,
            self.config,
            seed=self.context.seed,
            cursor=self.cursor,
            step=self.step,
        )
        self.cursor += len(rollout.drawn)
        self.tokens += rollout.tokens
        return rollout

    def _minibatches(self, rollout: Rollout) -> list[list[Group]]:
        """Whole groups at random, prompts_per_step an update (the paper: 32 unique questions a step)."""
        groups, size = list(rollout.groups), self.config.prompts_per_step
        Random(derive_seed(self.context.seed, "minibatches", rollout.step)).shuffle(groups)
        return [groups[i : i + size] for i in range(0, len(groups), size)]

    def _update(self, groups: Sequence[Group], on_policy: bool) -> dict[str, float]:
        """One policy update. Only a rollout's first trains the policy that sampled: only there is a gap an error."""
        start = time.monotonic()
        graded_PG = torch.tensor([group.graded for group in groups])
        advantages_PG = group_advantages(
            torch.tensor([group.rewards for group in groups]),
            scale_by_std=OBJECTIVES[self.config.objective].scale_by_std,
            graded_PG=graded_PG,
        )
        batch = make_batch(
            [prompt_ids(group.problem, self.config.template, self.tokenizer) for group in groups],
            [group.completions for group in groups],
            advantages_PG,
            temperature=self.config.temperature,
            mask_truncated=self.config.mask_truncated_completions,
            device=self.context.device,
            graded_PG=graded_PG,
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
