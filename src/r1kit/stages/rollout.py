"""Rollouts: prompts answered by the current policy, graded, and put into groups to learn from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from statistics import fmean, pstdev
from typing import Any

import torch
from pydantic import TypeAdapter
from transformers import PreTrainedTokenizerBase

from r1kit.config import RL
from r1kit.engine.base import Engine
from r1kit.evals.style import other_language_share, reflective_words, repetition
from r1kit.hashing import derive_seed
from r1kit.learn.advantage import has_variance, overlong_penalty
from r1kit.rollout.ask import ask, sampling_params
from r1kit.stages.scenarios import Scenarios
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

    @property
    def graded(self) -> list[bool]:
        """False where grading failed: such a completion counts nowhere."""
        return [not score.masked for score in self.scores]

    @property
    def varies(self) -> bool:
        """Whether there is anything to learn from it."""
        return bool(has_variance(torch.tensor([self.rewards]), torch.tensor([self.graded])))


GROUPS = TypeAdapter(list[Group])


@dataclass(slots=True)
class Rollout:
    """Everything drawn for one rollout, and what of it is learned from."""

    step: int  # updates done when it was sampled
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
    scenarios: Scenarios,
    config: RL,
    *,
    seed: int,
    cursor: int,
    step: int,
) -> Rollout:
    """Answer and grade the next prompts. Under dynamic sampling, go on until enough groups have variance (DAPO)."""
    wanted = config.prompts_per_step * config.steps_per_rollout
    rollout = Rollout(step)
    for round_ in range(MAX_ROUNDS if config.dynamic_sampling else 1):
        problems = scenarios.take(cursor + len(rollout.drawn), wanted, step)
        params = sampling_params(config, derive_seed(seed, "rollout", step, round_), config.completion_cap(step))
        start = time.monotonic()
        beside = scenarios.beside(problems, tokenizer)
        answers = ask(engine, tokenizer, problems, config.template, config.num_generations, params, beside)
        generated = time.monotonic()
        groups = [_grade(*pair, tokenizer, scenarios, step) for pair in zip(problems, answers, strict=True)]
        rollout.seconds_generating += generated - start
        rollout.seconds_grading += time.monotonic() - generated
        rollout.drawn += groups
        if sum(group.varies for group in rollout.drawn) >= wanted:
            break
    rollout.groups = _learned_from(rollout.drawn, config)
    return rollout


def _learned_from(drawn: list[Group], config: RL) -> list[Group]:
    wanted = config.prompts_per_step * config.steps_per_rollout
    useful = [group for group in drawn if group.varies or not config.dynamic_sampling]
    return useful[:wanted] or drawn[:wanted]  # nothing varies: learn nothing, but go on


def pack(rollout: Rollout) -> dict[str, Any]:
    """A rollout as values that JSON can hold: a checkpoint keeps it while updates are being made from it."""
    return {"step": rollout.step, "drawn": GROUPS.dump_python(rollout.drawn)}


def unpack(packed: Mapping[str, Any], config: RL) -> Rollout:
    """The rollout that was packed, to the bit; how long it took is forgotten."""
    drawn = GROUPS.validate_python(packed["drawn"])
    return Rollout(packed["step"], drawn, _learned_from(drawn, config))


def _grade(
    problem: Problem,
    completions: Sequence[Completion],
    tokenizer: PreTrainedTokenizerBase,
    scenarios: Scenarios,
    step: int,
) -> Group:
    config, scores = scenarios.config, scenarios.grade(problem, completions, tokenizer)
    rewards = [score.total for score in scores]
    if config.overlong_buffer:
        lengths = torch.tensor([len(c.token_ids) for c in completions])
        penalties = overlong_penalty(lengths, config.completion_cap(step), config.overlong_buffer)
        rewards = [reward + penalty for reward, penalty in zip(rewards, penalties.tolist(), strict=True)]
    return Group(problem, completions, scores, rewards)


def describe(rollout: Rollout, reward_names: Sequence[str]) -> dict[str, float | str]:
    """What a rollout looks like, in TRL's names. Rewards are means over what was graded."""
    drawn = rollout.drawn
    completions = [c for group in drawn for c in group.completions]
    scores = [s for group in drawn for s in group.scores]
    texts = [c.text for c in completions]
    lengths = [len(c.token_ids) for c in completions]
    graded = [score for score in scores if not score.masked]
    rewards = [[r for r, counts in zip(group.rewards, group.graded, strict=True) if counts] for group in drawn]
    return {
        "reward": _mean([reward for group in rewards for reward in group]),
        "reward_std": _mean([pstdev(group) for group in rewards if group]),
        **_parts(graded, reward_names),
        "completions/mean_length": fmean(lengths),
        "completions/max_length": max(lengths),
        "completions/clipped_ratio": fmean(c.finish_reason == "length" for c in completions),
        "completions/repetition": fmean(repetition(c.token_ids) for c in completions),
        "completions/reflective_words": fmean(map(reflective_words, texts)),
        "completions/other_language": other_language_share(
            texts, [group.problem.language for group in drawn for _ in group.completions]
        ),
        "frac_reward_zero_std": fmean(not group.varies for group in drawn),
        "groups": len(rollout.groups),
        "sampling/weights_lag": max(abs(rollout.step - c.weights_version) for c in completions),
        **_failures([score for score in scores if score.masked], len(scores)),
    }


def _parts(graded: Sequence[Score], reward_names: Sequence[str]) -> dict[str, float]:
    """Mean of every reward over the answers that it was for. Without any there is none, unless nothing was graded."""
    values = {name: [score.parts[name] for score in graded if name in score.parts] for name in reward_names}
    return {f"rewards/{name}/mean": _mean(found) for name, found in values.items() if found or not graded}


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else nan


def _failures(masked: Sequence[Score], total: int) -> dict[str, float | str]:
    """The share of completions that could not be graded and why, when there are any."""
    return {"completions/ungraded": len(masked) / total, "ungraded_reason": masked[0].reason} if masked else {}


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
            "masked": score.masked,
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
