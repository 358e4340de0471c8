"""Rollouts: prompts answered by the current policy, graded, and put into groups to learn from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from r1kit.artifact import derive_seed
from r1kit.config import RL
from r1kit.data.prompts import PromptStream
from r1kit.engine.base import Engine
from r1kit.evals.runner import ask, grade_group, sampling_params
from r1kit.evals.style import other_language_share, reflective_words
from r1kit.learn.advantage import has_variance, overlong_penalty
from r1kit.types import Completion, Problem, Score

# Rounds of drawing prompts after which dynamic sampling learns from the groups with variance that it has.
MAX_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt, its completions and what they earned."""

    problem: Problem
    completions: Sequence[Completion]
    scores: Sequence[Score]
    rewards: Sequence[float]  # totals, length shaping included


@dataclass(slots=True)
class Rollout:
    """Everything drawn for one rollout, and what of it is learned from."""

    drawn: list[Group] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)  # all that was drawn, or what has variance under dynamic sampling
    seconds_generating: float = 0.0
    seconds_grading: float = 0.0

    @property
    def tokens(self) -> int:
        return sum(len(c.token_ids) for group in self.drawn for c in group.completions)


def collect(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    prompts: PromptStream,
    config: RL,
    *,
    seed: int,
    cursor: int,
    step: int,
) -> Rollout:
    """Answer and grade the next prompts. Under dynamic sampling, go on until enough groups have variance (DAPO)."""
    wanted = config.prompts_per_step * config.steps_per_rollout
    rollout = Rollout()
    for round_ in range(MAX_ROUNDS if config.dynamic_sampling else 1):
        problems = prompts.take(cursor + len(rollout.drawn), wanted)
        params = sampling_params(config, derive_seed(seed, "rollout", step, round_), config.completion_cap(step))
        start = time.monotonic()
        answers = ask(engine, tokenizer, problems, config.template, config.num_generations, params)
        generated = time.monotonic()
        groups = [_grade(*pair, tokenizer, config, step) for pair in zip(problems, answers, strict=True)]
        rollout.seconds_generating += generated - start
        rollout.seconds_grading += time.monotonic() - generated
        rollout.drawn += groups
        rollout.groups += [group for group in groups if _varies(group) or not config.dynamic_sampling]
        if len(rollout.groups) >= wanted:
            break
    rollout.groups = rollout.groups[:wanted] or rollout.drawn[:wanted]  # nothing varies: learn nothing, but go on
    return rollout


def _varies(group: Group) -> bool:
    return bool(has_variance(torch.tensor([group.rewards])))


def _grade(
    problem: Problem, completions: Sequence[Completion], tokenizer: PreTrainedTokenizerBase, config: RL, step: int
) -> Group:
    scores = grade_group(problem, completions, config.template, tokenizer, config.rewards)
    rewards = [score.total for score in scores]
    if config.overlong_buffer:
        lengths = torch.tensor([len(c.token_ids) for c in completions])
        penalties = overlong_penalty(lengths, config.completion_cap(step), config.overlong_buffer)
        rewards = [reward + penalty for reward, penalty in zip(rewards, penalties.tolist(), strict=True)]
    return Group(problem, completions, scores, rewards)


def describe(rollout: Rollout, reward_names: Sequence[str]) -> dict[str, float]:
    """What a rollout looks like, in TRL's names."""
    drawn = rollout.drawn
    completions = [c for group in drawn for c in group.completions]
    scores = [s for group in drawn for s in group.scores]
    texts = [c.text for c in completions]
    lengths = [len(c.token_ids) for c in completions]
    return {
        "reward": fmean(reward for group in drawn for reward in group.rewards),
        "reward_std": fmean(pstdev(group.rewards) for group in drawn),
        **{f"rewards/{name}/mean": fmean(s.parts[name] for s in scores) for name in reward_names},
        "completions/mean_length": fmean(lengths),
        "completions/max_length": max(lengths),
        "completions/clipped_ratio": fmean(c.finish_reason == "length" for c in completions),
        "completions/reflective_words": fmean(map(reflective_words, texts)),
        "completions/other_language": other_language_share(
            texts, [group.problem.language for group in drawn for _ in group.completions]
        ),
        "frac_reward_zero_std": fmean(not _varies(group) for group in drawn),
        "groups": len(rollout.groups),
    }


def rows(step: int, groups: Sequence[Group], advantages: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Completions as they are kept for people to read."""
    return [
        {
            "step": step,
            "prompt_id": group.problem.id,
            "sample": completion.sample,
            "question": group.problem.question,
            "answer": group.problem.answer,
            "completion": completion.text,
            "extracted": score.extracted,
            "reason": score.reason,
            "reward": reward,
            "parts": dict(score.parts),
            "advantage": advantage,
            "tokens": len(completion.token_ids),
            "finish_reason": completion.finish_reason,
            "level": group.problem.level,
            "family": group.problem.family,
            "language": group.problem.language,
        }
        for group, group_advantages in zip(groups, advantages, strict=True)
        for completion, score, reward, advantage in zip(
            group.completions, group.scores, group.rewards, group_advantages, strict=True
        )
    ]
