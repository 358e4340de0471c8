"""The RL stage: GRPO, its relatives or PPO on problems whose answers can be checked.

    prompts -> engine -> completions -> rewards -> advantages -> learner, `steps_per_rollout` updates per rollout

Randomness depends on the stage's seed and the step only, so a run resumed from a checkpoint gives identical results.
A checkpoint between two updates of one rollout contains the rollout: the policy that sampled it no longer exists. With
`rollouts_ahead`, the next rollout is sampled meanwhile (`rl_ahead`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from r1kit.config import RL
from r1kit.console import duration, progress, say
from r1kit.data.store import write_jsonl
from r1kit.data.template import set_template
from r1kit.engine.base import Engine
from r1kit.engine.factory import make_engine
from r1kit.evals.benchmark import evaluate, load_benchmarks
from r1kit.hashing import derive_seed
from r1kit.interrupt import StepAbandoned, defer_signals
from r1kit.learn.checkpoint import Checkpoints
from r1kit.learn.learner import Learner
from r1kit.learn.lora import add_adapters, merge_adapters
from r1kit.learn.memory import configure
from r1kit.learn.step.critic import load_critic
from r1kit.metrics.best import Best
from r1kit.metrics.log import read_metrics
from r1kit.metrics.pace import CALIBRATION_STEPS, seconds_left
from r1kit.metrics.watchdog_log import WatchdogLog
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_model, load_tokenizer, publish_model
from r1kit.model.policy import Policy, RewardModel
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.pool import open_sandbox_for
from r1kit.rollout.episodes import in_environment
from r1kit.rollout.group import Group, Rollout
from r1kit.rollout.sample import sampling_params
from r1kit.stages.context import StageContext
from r1kit.stages.rl_ahead import RolloutAhead, Start
from r1kit.stages.rl_prompts import RLPrompts, merged
from r1kit.stages.rl_rewards import RLRewards
from r1kit.stages.rl_rollout import (
    collect,
    completion_rows,
    metrics,
    minibatches,
    pack,
    train_batch,
    unpack,
    with_values,
)


def run(config: RL, context: StageContext) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, and publish model/. Return the totals."""
    trainer, world = Trainer(config, context), context.world
    trainer.restore()
    with trainer.checkpoints, progress(context.name, config.steps) as bar, defer_signals() as should_stop:
        bar.advance(trainer.step - (trainer.unlogged is not None))  # its row counts when it is logged
        with trainer.ahead:  # left last: its thread ends when the rewards have
            with suppress(StepAbandoned), trainer.rewards:
                trainer.evaluate_at_start()
                while not trainer.is_done:
                    if world.should_stop(should_stop()):
                        raise StepAbandoned
                    row = trainer.advance()
                    bar.advance(reward=row["reward"], length=row["completions/mean_length"])
                    trainer.save(stopping=False)
                    trainer.tell_time()
            trainer.save(world.should_stop(should_stop()))
    if (best := trainer.best.instead_of(trainer.step)) is not None:
        trainer.checkpoints.load_model(trainer.learner, best)
    with trainer.learner.complete_policy() as policy:
        if world.is_first:
            publish_model(merge_adapters(policy), trainer.tokenizer, context.files.model)
    return {"steps": trainer.step, **trainer.best.summary(), "prompts": trainer.cursor, "tokens": trainer.tokens}


def initial_model(config: RL, context: StageContext) -> tuple[Policy, PreTrainedTokenizerBase]:
    """Return the policy before the first update, and its tokenizer with the stage's template."""
    tokenizer = load_tokenizer(context.models[config.model])
    model = load_model(context.models[config.model], torch_dtype(context.dtype), context.device)
    eos = tokenizer.eos_token_id
    set_template(tokenizer, config.template)
    model.config = model.config.stopping_at(tokenizer.eos_token_id, eos)  # a base model still ends with `eos`
    configure(model, config, _pass_tokens(config), torch_dtype(context.dtype))
    if config.lora_rank:
        add_adapters(model, config.lora_rank, config.lora_alpha, derive_seed(context.seed, "adapters"))
    return model, tokenizer


def initial_critic(config: RL, context: StageContext) -> RewardModel | None:
    """Return the value model of PPO before its first update; None for other objectives."""
    if config.critic is None:
        return None
    dtype, given = torch_dtype(context.dtype), config.critic.model
    paths = context.models[config.model], context.models[given] if given else None
    critic = load_critic(config, *paths, dtype, context.device, derive_seed(context.seed, "critic"))
    configure(critic, config, _pass_tokens(config), dtype)
    return critic


def _pass_tokens(config: RL) -> int:
    return max(config.micro_batch_tokens, config.longest_completion)


class Trainer:
    """The state of an RL stage."""

    def __init__(self, config: RL, context: StageContext) -> None:
        self.config, self.context = config, context
        self.world = context.world
        self.world_ahead = self.world.aside() if config.rollouts_ahead else self.world  # of rollouts in the thread
        model, self.tokenizer = initial_model(config, context)
        self.learner = Learner(model, config, self.world, initial_critic(config, context))
        with self.learner.complete_policy() as policy:
            engine = make_engine(
                policy, self.tokenizer, context.max_concurrent, context.kv_cache_tokens, context.engine
            )
            self.engine: Engine = in_environment(engine, config.environment, Settings.from_dict(context.grading))
        self.benchmarks = load_benchmarks(config.benchmarks)
        self.prompts = RLPrompts(config, context.seed, merged(self.benchmarks, load_benchmarks(context.held_out)))
        self.rewards = RLRewards(config, context, self.prompts)
        self.ahead = RolloutAhead(self.engine, self._collect)
        measured = self.benchmarks.values() if config.eval_every else ()
        open_sandbox_for(chain(self.prompts.problems, *measured))
        self.log = WatchdogLog(
            context.files.metrics,
            context.name,
            context.dtype,
            config.watchdogs,
            writes=self.world.is_first,
            max_weights_lag=config.max_weights_lag,
            since=context.since.step,
        )
        self.checkpoints = Checkpoints(context.files.checkpoints, self.log.files, self.world, first=context.since.step)
        self.best = Best(config.best_metric)
        self.step, self.cursor, self.tokens = 0, 0, 0  # updates done, prompts drawn, completion tokens generated
        self.rollout: Rollout | None = None  # None when all its updates are done
        self.unlogged: dict[str, Any] | None = None  # the row of the last update until it has been evaluated
        self.is_saved = True  # nothing has changed since the last checkpoint
        self.seconds_saving: dict[str, float] = {}  # logged with the next step

    @property
    def is_done(self) -> bool:
        """Whether all updates are done and logged."""
        return self.step >= self.config.steps and self.unlogged is None

    def restore(self) -> None:
        """Restore the newest checkpoint and truncate the logs to it."""
        if saved := self.checkpoints.restore(self.learner):
            self.step, self.cursor, self.tokens = saved["step"], saved["cursor"], saved["tokens"]
            self.unlogged = saved.get("unlogged")
            is_amended = self.step == self.context.since.step
            if not is_amended or self.context.since.is_comparable:
                self.best.restore(saved)
            if not is_amended:  # else other settings sampled these
                self.rollout = unpack(saved["rollout"], self.config, self.tokenizer) if saved["rollout"] else None
                if ahead := saved.get("ahead"):
                    self.ahead.restore(self.learner.model, ahead)
        rows = self.world.from_first(lambda: read_metrics(self.log.path)[-1:])
        if self.unlogged:
            rows = [self.unlogged]
        if rows:  # the size may have been halved when memory ran out
            allowed = self.config.micro_batch_tokens
            self.learner.passes.micro_batch_tokens = min(allowed, rows[-1].get("micro_batch_tokens", allowed))

    def save(self, stopping: bool) -> None:
        """Save a checkpoint if one is due. Called after logging: a row may be written twice, but is never missing."""
        self.seconds_saving = {}
        is_best, is_last = self.best.step == self.step, self.step == self.config.steps
        if self.is_saved or not (stopping or is_best or is_last or self.step % self.config.save_every == 0):
            return
        start = time.monotonic()
        counts = {"step": self.step, "cursor": self.cursor, "tokens": self.tokens}
        progress = {**counts, "rollout": self.rollout and pack(self.rollout), "unlogged": self.unlogged}
        progress |= self.best.pack()
        if ahead := self.ahead.pack():
            progress["ahead"] = ahead
        self.checkpoints.save(self.learner, progress, is_needed=is_best)
        self.is_saved = True
        self.seconds_saving = {"time/save": time.monotonic() - start}

    def advance(self) -> dict[str, Any]:
        """Do one update, after a new rollout if the last one is used up. Return the row that was logged.

        Signals end sampling, grading and evaluation at once: they change nothing that a checkpoint holds.
        """
        start = time.monotonic()
        if self.unlogged is None:
            self.unlogged = self._next_update()
        evaluation = self._evaluate()
        row = {"step": self.step, **self.unlogged, **evaluation, "time/step": time.monotonic() - start}
        self.log.append(row)
        self.unlogged = None
        if self.learner.optimizer.state:  # else no update has succeeded, and there is nothing to save
            self.best.offer(self.step, evaluation)
        if self.is_done or (self.rollout and self._updates_done() == len(self._minibatches(self.rollout))):
            self.rollout = None
        return row

    def tell_time(self) -> None:
        """Print how long the stage takes, once its first steps have shown it."""
        config = self.config
        if self.step != min(CALIBRATION_STEPS, config.steps - 1):
            return
        evaluated = config.evaluated_samples * sum(map(len, self.benchmarks.values()))
        size = evaluated / config.counts()["completions_per_rollout"]
        rows = list(read_metrics(self.log.path))
        evaluations = 1 / config.eval_every if config.eval_every else 0.0
        if seconds := seconds_left(rows, config.steps, self.step, config.steps_per_rollout, evaluations, size):
            say(f"{self.context.name}: about {duration(seconds)} for the other {config.steps - self.step} steps")

    def _next_update(self) -> dict[str, Any]:
        """Do one update. Return its row, without an evaluation."""
        phases = dict(self.seconds_saving)
        if self.rollout is None:
            self.rollout = rollout = self._next_rollout()
            self.cursor += len(rollout.sampled)
            self.tokens += rollout.tokens
            phases |= {**rollout.seconds.metrics(), **rollout.report, **self._value(rollout)}
            if self.config.rollouts_ahead:
                self._start_next(rollout)
        shown = {**metrics(self.rollout, self.config.reward_names), "tokens": self.tokens}
        index = self._updates_done()
        on_policy = index == 0 and not shown["sampling/weights_lag"]
        update = self._update(self._minibatches(self.rollout)[index], on_policy)
        self.is_saved = False
        return {**shown, **update, **phases}

    def _updates_done(self) -> int:
        return self.step - (self.rollout.step if self.rollout is not None else self.step)

    def _next_rollout(self) -> Rollout:
        if self.ahead.is_pending:
            with self.world.abandonable():
                self.ahead.wait()
            return self.ahead.take()
        with self.learner.complete_policy() as policy:
            self.engine.load_weights(policy, self.step)
            return self._collect(Start(self.step, self.cursor, self.step))

    def _start_next(self, rollout: Rollout) -> None:
        """Start the rollout after this one, which has not been trained on yet, unless the stage ends before."""
        step = rollout.step + len(self._minibatches(rollout))
        if step < self.config.steps:
            self.ahead.start(self.learner.model, Start(step, self.cursor, self.step))

    def _collect(self, start: Start, check: Callable[[], None] | None = None) -> Rollout:
        return collect(
            self.engine,
            self.tokenizer,
            self.prompts,
            self.rewards,
            self.config,
            seed=self.context.seed,
            cursor=start.cursor,
            step=start.step,
            check=check,
            world=self.world if check is None else self.world_ahead,
        )

    def _minibatches(self, rollout: Rollout) -> list[list[Group]]:
        return minibatches(rollout, self.config, self.prompts, self.context.seed)

    def _value(self, rollout: Rollout) -> dict[str, float]:
        """Let the critic, if there is one, value the completions of a new rollout. Return how long it takes."""
        if self.learner.critic is None:
            return {}
        start, size, values = time.monotonic(), self.config.prompts_per_step, list[torch.Tensor]()
        for i in range(0, len(rollout.selected), size):
            groups = rollout.selected[i : i + size]
            rows_BT = self.learner.critic.values(train_batch(groups, self.config, self.context.device)).cpu()
            lengths = [len(c.token_ids) for group in groups for c in group.completions]
            values += [row_T[:length].clone() for row_T, length in zip(rows_BT, lengths, strict=True)]
        rollout.selected = with_values(rollout.selected, values)
        return {"time/values": time.monotonic() - start}

    def _update(self, groups: Sequence[Group], on_policy: bool) -> dict[str, float]:
        """Do one policy update and return its metrics.

        `on_policy` says that these weights sampled the rollout. Only then are engine and learner expected to agree,
        so only then are the metrics of their difference logged. Of rollouts that were sampled ahead, none is.
        """
        start = time.monotonic()
        batch = train_batch(groups, self.config, self.context.device)
        update = self.learner.step(batch, self.step)
        self.step += 1
        seconds = time.monotonic() - start
        if self.world.is_first and (self.step == 1 or self.step % self.config.log_rollouts_every == 0):
            path = self.context.files.rollouts / f"step_{self.step:06d}.jsonl"
            write_jsonl(path, completion_rows(self.step, groups, batch.advantages_B.view(len(groups), -1).tolist()))
        update = {k: v for k, v in update.items() if on_policy or not k.startswith("sampling/")}
        inference = {"time/reference": self.learner.seconds_in_reference} if self.learner.reference is not None else {}
        return {**update, "time/update": seconds, **inference}

    def evaluate_at_start(self) -> None:
        """Log an evaluation before the first update, in a row with step 0, if the config asks for it."""
        if self.config.eval_at_start and self.step == 0 and (evaluation := self._evaluate()):
            self.log.append({"step": 0, **evaluation})

    def _evaluate(self) -> dict[str, float]:
        """Return held-out accuracy every `eval_every` steps, measured by the first rank."""
        if not self.benchmarks or not self.config.eval_every or self.step % self.config.eval_every:
            return {}
        with self.learner.complete_policy() as policy, self.world.abandonable():
            evaluation = self._evaluate_here(policy) if self.world.is_first else {}
        return self.world.from_first(lambda: evaluation)

    def _evaluate_here(self, policy: Policy) -> dict[str, float]:
        config, protocol = self.config, self.config.eval_protocol
        self.ahead.wait()
        start = time.monotonic()
        self.engine.load_weights(policy, self.step)
        seed = derive_seed(self.context.seed, "evaluate", self.step)
        samples, cap = config.evaluated_samples, config.completion_cap(self.step)
        if protocol is not None:
            cap = protocol.max_completion_length
        evaluation = evaluate(
            self.engine,
            self.tokenizer,
            self.benchmarks,
            style=protocol or config,
            samples=samples,
            params=sampling_params(protocol or config, seed, cap),
            partial_credit=config.partial_credit,
        )
        keys = ("pass@1", f"cons@{samples}", "format_rate")
        accuracies = {
            f"eval/{name}/{key}": summary[key]
            for name, summary in evaluation.benchmarks.items()
            for key in keys
            if key in summary  # no cons@k without answers that can vote
        }
        return accuracies | {"time/eval": time.monotonic() - start}
