"""The RL stage: GRPO on problems whose answers can be checked.

    prompts -> engine -> completions -> rewards -> advantages -> learner, steps_per_rollout updates a rollout

Randomness comes from the stage's seed and the rollout's number only, so a run that stops anywhere goes on from its
last checkpoint as if it had not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.artifact import StageContext, derive_seed
from r1kit.config import RL
from r1kit.data.prompts import PromptStream, load_problems
from r1kit.data.store import write_jsonl
from r1kit.engine.base import Engine
from r1kit.engine.native import NativeEngine
from r1kit.evals.runner import ask, evaluate, grade_group, load_benchmarks, prompt_ids, sampling_params
from r1kit.evals.style import other_language_share, reflective_words
from r1kit.learn import checkpoint
from r1kit.learn.advantage import group_advantages, has_variance, overlong_penalty
from r1kit.learn.batch import make_batch
from r1kit.learn.learner import Learner
from r1kit.learn.loss import UNSCALED
from r1kit.log import MetricsLog, progress
from r1kit.model.hf import load_model, load_tokenizer, publish_model
from r1kit.types import Completion, Problem, Score

# Rollouts of a dynamic-sampling step before it trains on what varies so far.
MAX_REDRAWS = 4


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt, its completions and what they earned."""

    problem: Problem
    completions: Sequence[Completion]
    scores: Sequence[Score]
    rewards: Sequence[float]  # totals, length shaping included


class Trainer:
    """An RL stage under way."""

    def __init__(self, config: RL, context: StageContext):
        self.config, self.context = config, context
        directory = context.models[config.model]
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(directory)
        model = load_model(directory, getattr(torch, context.dtype), context.device)
        self.learner = Learner(model, config)
        self.engine: Engine = NativeEngine(model, self.tokenizer, context.max_concurrent)
        self.prompts = PromptStream(load_problems(config.prompts), derive_seed(context.seed, "prompts"))
        self.benchmarks = load_benchmarks(config.benchmarks)
        self.log = MetricsLog(context.dir / "metrics.jsonl")
        self.step, self.cursor, self.tokens = 0, 0, 0  # updates done, prompts drawn, completion tokens generated

    def run(self) -> None:
        """Train to the last step, from the last checkpoint if there is one."""
        saved = checkpoint.restore(self.learner, self.context.dir / "checkpoints")
        if saved:
            self.step, self.cursor, self.tokens = saved["step"], saved["cursor"], saved["tokens"]
        self.log.truncate_after(self.step)
        with progress(f"{self.context.name}", self.config.steps) as bar:
            bar.advance(self.step)
            while self.step < self.config.steps:
                self._rollout_and_learn(bar)

    def _rollout_and_learn(self, bar: Any) -> None:
        """One rollout, the updates it feeds, and what is kept of them."""
        config = self.config
        started = time.monotonic()
        groups, phases, drawn = self._collect()
        advantages_PG = group_advantages(
            torch.tensor([group.rewards for group in groups]), scale_by_std=config.objective not in UNSCALED
        )
        order = list(range(len(groups)))
        Random(derive_seed(self.context.seed, "minibatches", self.step)).shuffle(order)
        batches = [order[i : i + config.prompts_per_step] for i in range(0, len(order), config.prompts_per_step)]
        shown = self._describe(groups, drawn)
        for index, chosen in enumerate(batches[: config.steps - self.step]):
            began = time.monotonic()
            metrics = self._learn([groups[i] for i in chosen], advantages_PG[chosen], on_policy=index == 0)
            self.step += 1
            phases = phases if index == 0 else {}
            row = {"step": self.step, **shown, **metrics, **phases, "time/update": time.monotonic() - began}
            if config.log_rollouts_every and (self.step == 1 or self.step % config.log_rollouts_every == 0):
                self._keep_rollouts([groups[i] for i in chosen], advantages_PG[chosen])
            row |= self._evaluate() | self._save(last_of_rollout=index == len(batches) - 1)
            row["time/step"] = time.monotonic() - started
            started = time.monotonic()
            self.log.append(row)
            bar.advance(reward=row["reward"], length=row["completions/mean_length"])

    def _collect(self) -> tuple[list[Group], dict[str, float], list[Group]]:
        """(groups to learn from, seconds by phase, all groups drawn). They differ under dynamic sampling."""
        config = self.config
        wanted = config.prompts_per_step * config.steps_per_rollout
        seconds = {"time/rollout": 0.0, "time/grade": 0.0}
        kept: list[Group] = []
        drawn: list[Group] = []
        for redraw in range(MAX_REDRAWS if config.dynamic_sampling else 1):
            problems = self.prompts.take(self.cursor, wanted)
            self.cursor += wanted
            params = sampling_params(
                config,
                derive_seed(self.context.seed, "rollout", self.step, redraw),
                config.completion_cap(self.step),
            )
            start = time.monotonic()
            answers = ask(self.engine, self.tokenizer, problems, config.template, config.num_generations, params)
            graded = time.monotonic()
            groups = [self._grade(*pair) for pair in zip(problems, answers, strict=True)]
            seconds["time/rollout"] += graded - start
            seconds["time/grade"] += time.monotonic() - graded
            self.tokens += sum(len(c.token_ids) for answer in answers for c in answer)
            drawn += groups
            varies = has_variance(torch.tensor([group.rewards for group in groups])).tolist()
            kept += [group for group, v in zip(groups, varies, strict=True) if v or not config.dynamic_sampling]
            if len(kept) >= wanted:
                break
        return (kept[:wanted] or drawn[:wanted]), seconds, drawn

    def _grade(self, problem: Problem, completions: Sequence[Completion]) -> Group:
        config = self.config
        scores = grade_group(problem, completions, config.template, self.tokenizer, config.rewards)
        rewards = [score.total for score in scores]
        if config.overlong_buffer:
            lengths = torch.tensor([len(c.token_ids) for c in completions])
            penalties = overlong_penalty(lengths, config.completion_cap(self.step), config.overlong_buffer)
            rewards = [reward + penalty for reward, penalty in zip(rewards, penalties.tolist(), strict=True)]
        return Group(problem, completions, scores, rewards)

    def _learn(self, groups: Sequence[Group], advantages_PG: Tensor, on_policy: bool) -> dict[str, float]:
        """One update. Only the first of a rollout trains the very policy that sampled: only there the gap is an error."""
        batch = make_batch(
            [prompt_ids(group.problem, self.config.template, self.tokenizer) for group in groups],
            [group.completions for group in groups],
            advantages_PG,
            temperature=self.config.temperature,
            mask_truncated=self.config.mask_truncated_completions,
            device=self.context.device,
        )
        metrics = self.learner.step(batch, self.step)
        self.engine.load_weights(self.learner.model, self.step + 1)
        return {k: v for k, v in metrics.items() if on_policy or not k.startswith("sampling/")}

    def _describe(self, groups: Sequence[Group], drawn: Sequence[Group]) -> dict[str, float]:
        """What a rollout looks like, in TRL's names."""
        completions = [c for group in drawn for c in group.completions]
        scores = [s for group in drawn for s in group.scores]
        texts = [c.text for c in completions]
        languages = [group.problem.language for group in drawn for _ in group.completions]
        lengths = [len(c.token_ids) for c in completions]
        varies = has_variance(torch.tensor([group.rewards for group in drawn]))
        return {
            "reward": fmean(reward for group in drawn for reward in group.rewards),
            "reward_std": fmean(pstdev(group.rewards) for group in drawn),
            **{f"rewards/{name}/mean": fmean(s.parts[name] for s in scores) for name in self.config.rewards},
            "completions/mean_length": fmean(lengths),
            "completions/max_length": max(lengths),
            "completions/clipped_ratio": fmean(c.finish_reason == "length" for c in completions),
            "completions/reflective_words": fmean(map(reflective_words, texts)),
            "completions/other_language": other_language_share(texts, languages),
            "frac_reward_zero_std": 1 - float(varies.float().mean()),
            "groups": len(groups),
            "tokens": self.tokens,
        }

    def _evaluate(self) -> dict[str, float]:
        every = self.config.eval_every
        if not self.benchmarks or not every or self.step % every:
            return {}
        start = time.monotonic()
        params = sampling_params(
            self.config, derive_seed(self.context.seed, "evaluate", self.step), self.config.completion_cap(self.step)
        )
        samples = self.config.eval_samples
        found = evaluate(
            self.engine, self.tokenizer, self.benchmarks, template=self.config.template, samples=samples, params=params
        )
        keys = ("pass@1", f"cons@{samples}", "format_rate")
        row = {f"eval/{name}/{key}": summary[key] for name, summary in found.benchmarks.items() for key in keys}
        return row | {"time/eval": time.monotonic() - start}

    def _keep_rollouts(self, groups: Sequence[Group], advantages_PG: Tensor) -> None:
        rows = [
            _rollout_row(self.step, group, i, advantage)
            for group, advantages in zip(groups, advantages_PG.tolist(), strict=True)
            for i, advantage in enumerate(advantages)
        ]
        write_jsonl(self.context.dir / "rollouts" / f"step_{self.step:06d}.jsonl", rows)

    def _save(self, last_of_rollout: bool) -> dict[str, float]:
        """Checkpoints stand between rollouts, so that no half-used rollout has to be kept."""
        due = self.step - self._saved_step() >= self.config.save_every or self.step == self.config.steps
        if not (last_of_rollout and due):
            return {}
        start = time.monotonic()
        progress_made = {"step": self.step, "cursor": self.cursor, "tokens": self.tokens}
        checkpoint.save(self.learner, progress_made, self.context.dir / "checkpoints")
        return {"time/save": time.monotonic() - start}

    def _saved_step(self) -> int:
        found = checkpoint.checkpoints(self.context.dir / "checkpoints")
        return checkpoint.step_of(found[-1]) if found else 0


def run(config: RL, context: StageContext) -> dict[str, Any]:
    """Train and publish model/. The summary is the last rollout's reward and the totals."""
    trainer = Trainer(config, context)
    trainer.run()
    publish_model(trainer.learner.model, trainer.tokenizer, context.dir / "model")
    return {"steps": trainer.step, "prompts": trainer.cursor, "tokens": trainer.tokens}


def _rollout_row(step: int, group: Group, index: int, advantage: float) -> dict[str, Any]:
    problem, completion, score = group.problem, group.completions[index], group.scores[index]
    return {
        "step": step,
        "prompt_id": problem.id,
        "sample": completion.sample,
        "question": problem.question,
        "answer": problem.answer,
        "completion": completion.text,
        "extracted": score.extracted,
        "reason": score.reason,
        "reward": group.rewards[index],
        "parts": dict(score.parts),
        "advantage": advantage,
        "tokens": len(completion.token_ids),
        "finish_reason": completion.finish_reason,
        "level": problem.level,
        "family": problem.family,
        "language": problem.language,
    }
