"""Collect rollouts: sample completions with the current policy, score them, and select the groups to train on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from random import Random
from statistics import fmean, pstdev
from typing import Any

import torch
from pydantic import TypeAdapter
from transformers import PreTrainedTokenizerBase

from r1kit.config import RL
from r1kit.console import heartbeat
from r1kit.data.prompt import Prompt, make_prompt, make_prompts
from r1kit.engine.base import Engine, Finished
from r1kit.evals.style import other_language_share, reflective_words, repetition
from r1kit.hashing import derive_seed
from r1kit.learn.advantage import group_advantages, overlong_penalty
from r1kit.learn.batch import make_batch
from r1kit.learn.loss import OBJECTIVES
from r1kit.learn.world import ALONE, World
from r1kit.rollout.episodes import with_tools
from r1kit.rollout.group import Group, Rollout
from r1kit.rollout.sample import sample_completions, sampling_params
from r1kit.stages.rl_prompts import RLPrompts
from r1kit.stages.rl_rewards import RLRewards
from r1kit.types import ASSISTANT, Completion, Problem, Score, TrainBatch

MAX_ROUNDS = 4  # rounds of sampling; then dynamic sampling makes do with the groups it has


class Cancelled(Exception):
    """The stage ends and needs no further rollout."""


def collect(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    prompts: RLPrompts,
    rewards: RLRewards,
    config: RL,
    *,
    seed: int,
    cursor: int,
    step: int,
    check: Callable[[], None] | None = None,
    world: World = ALONE,
) -> Rollout:
    """Sample and score the next prompts. Dynamic sampling continues until enough groups have variance (DAPO).

    Each rank samples and scores its share; all return the same rollout. Without `check`, signals abandon the work.

    Args:
        engine: An engine with the weights that are to sample.
        tokenizer: The policy's tokenizer.
        prompts: The problems of the stage.
        rewards: The rewards of the stage.
        config: The stage's config.
        seed: The stage's seed.
        cursor: Prompts drawn in earlier rollouts.
        step: Updates done before the first that trains on the rollout.
        check: Called with every finished completion; may raise Cancelled, which ends the rollout on all ranks.
        world: The processes that do this together.
    """
    wanted = config.prompts_per_step * config.steps_per_rollout
    cap = config.completion_cap(step)
    rollout = Rollout(step)
    for round_ in range(MAX_ROUNDS if config.dynamic_sampling else 1):
        problems = prompts.take(cursor + len(rollout.sampled), wanted, step)
        params = sampling_params(config, derive_seed(seed, "rollout", step, round_), cap)
        ranks = _ranks(problems, world)
        mine = [problem for problem, rank in zip(problems, ranks, strict=True) if rank == world.rank]
        with world.abandonable() if check is None else world.raises_together(Cancelled):
            start = time.monotonic()
            batch = make_prompts(with_tools(engine, mine), config, tokenizer)
            on_finished = _checked(check, rewards.scorer_of_finished(batch))
            completions = []
            if batch:
                completions = sample_completions(engine, batch, config.num_generations, params, on_finished)
            generated, in_models = time.monotonic(), rewards.seconds_in_models
            with heartbeat(rewards.waiting_for), rewards.loaded_models():
                groups = [_score(*pair, rewards, cap, config) for pair in zip(batch, completions, strict=True)]
            rollout.seconds.generating += generated - start
            rollout.seconds.grading += time.monotonic() - generated
            rollout.seconds.in_reward_models += rewards.seconds_in_models - in_models
        shares = [iter(share) for share in world.gather(groups)]
        rollout.sampled += [next(shares[rank]) for rank in ranks]
        if sum(group.has_variance for group in rollout.sampled) >= wanted:
            break
    rollout.selected = _select(rollout.sampled, config)
    rollout.report = rewards.take_report()
    return rollout


def _ranks(problems: Sequence[Problem], world: World) -> list[int]:
    """Return the rank that samples each problem: one for all occurrences, whose completions must differ."""
    numbers = {problem_id: i for i, problem_id in enumerate(dict.fromkeys(problem.id for problem in problems))}
    return [numbers[problem.id] % world.size for problem in problems]


def _checked(check: Callable[[], None] | None, on_finished: Finished | None) -> Finished | None:
    if check is None:
        return on_finished

    def checked(completion: Completion) -> None:
        check()
        if on_finished is not None:
            on_finished(completion)

    return checked


def _score(prompt: Prompt, completions: Sequence[Completion], rewards: RLRewards, cap: int, config: RL) -> Group:
    scores = rewards.score(prompt, completions)
    totals = [score.total for score in scores]
    if config.overlong_buffer:
        lengths = torch.tensor([len(c.token_ids) for c in completions])
        penalties = overlong_penalty(lengths, cap, config.overlong_buffer)
        totals = [total + penalty for total, penalty in zip(totals, penalties.tolist(), strict=True)]
    return Group(prompt, completions, scores, totals)


def _select(groups: list[Group], config: RL) -> list[Group]:
    """Return the groups to train on, a multiple of `prompts_per_step`.

    Dynamic sampling (DAPO, arXiv 2503.14476, eq. 11 and section 3.2) selects groups with variance. Where too few have
    some, groups without fill the last update. An update averages over its m = `prompts_per_step` groups:

        gradient = 1/m * sum of the gradients of its groups

    In a smaller last update, each group would weigh more than elsewhere. Filled up, it keeps the weight 1/m, as in
    training without dynamic sampling; the gradient of a group without variance is that of the KL penalty.
    """
    wanted, size = config.prompts_per_step * config.steps_per_rollout, config.prompts_per_step
    varies = [group.has_variance or not config.dynamic_sampling for group in groups]
    useful = [group for group, has_variance in zip(groups, varies, strict=True) if has_variance][:wanted]
    others = [group for group, has_variance in zip(groups, varies, strict=True) if not has_variance]
    if not useful:  # the update learns nothing
        return groups[:wanted]
    return useful + others[: -len(useful) % size]


def with_values(groups: Sequence[Group], values: Sequence[torch.Tensor]) -> list[Group]:
    """Return groups with the critic's values, one tensor for each completion."""
    rest = iter(values)
    return [replace(group, values=[next(rest) for _ in group.completions]) for group in groups]


def train_batch(groups: Sequence[Group], config: RL, device: str) -> TrainBatch:
    """Return groups as tensors. In PPO, `advantages_B` are rewards above the value of the prompt, for display."""
    graded_PG, rewards_PG = (torch.tensor([getattr(g, name) for g in groups]) for name in ("graded", "rewards"))
    values = [value_T for group in groups for value_T in group.values]
    if config.critic is None:
        scale_by_std = OBJECTIVES[config.objective].scale_by_std
        advantages_PG = group_advantages(rewards_PG, scale_by_std=scale_by_std, graded_PG=graded_PG)
    else:
        first = [value_T[0] for value_T in values] or [torch.tensor(0.0)] * rewards_PG.numel()
        advantages_PG = (rewards_PG - torch.stack(first).view_as(rewards_PG)).where(graded_PG, 0.0)
    return make_batch(
        [group.prompt.token_ids for group in groups],
        [group.completions for group in groups],
        advantages_PG,
        temperature=config.temperature,
        mask_truncated=config.mask_truncated_completions,
        device=device,
        graded_PG=graded_PG,
        rewards_PG=rewards_PG,
        values=values,
    )


def minibatches(rollout: Rollout, config: RL, prompts: RLPrompts, seed: int) -> list[list[Group]]:
    """Shuffle the selected groups and split them into updates of `prompts_per_step` groups (paper: 32).

    Where general prompts begin inside the rollout, the updates before have none.
    """
    groups, size = rollout.selected, config.prompts_per_step
    early = [i for i, group in enumerate(groups) if not prompts.is_general(group.problem)]
    if prompts.general is not None:
        early = early[: max(0, prompts.first_general_step - rollout.step) * size]
    late = sorted(set(range(len(groups))) - set(early))
    random = Random(derive_seed(seed, "minibatches", rollout.step))
    for part in (early, late):
        random.shuffle(part)
    order = [groups[i] for i in early + late]
    return [order[i : i + size] for i in range(0, len(order), size)]


@dataclass(frozen=True, slots=True)
class _SavedGroup:
    """A group in a checkpoint. The prompt is rendered again when it is loaded; tokens are kept in tensors."""

    problem: Problem
    completions: Sequence[Completion]
    scores: Sequence[Score]
    rewards: Sequence[float]


_SAVED_GROUPS = TypeAdapter(list[_SavedGroup])


def pack(rollout: Rollout) -> dict[str, Any]:
    """Return a rollout as JSON values and tensors, for a checkpoint between two updates of the same rollout."""
    completions = [c for group in rollout.sampled for c in group.completions]
    groups = [
        _SavedGroup(group.problem, [_without_tokens(c) for c in group.completions], group.scores, group.rewards)
        for group in rollout.sampled
    ]
    values = [value for group in rollout.selected for value in group.values]
    return {
        "step": rollout.step,
        "drawn": _SAVED_GROUPS.dump_python(groups),
        "lengths": torch.tensor([len(c.token_ids) for c in completions]),
        "token_ids": torch.tensor([token for c in completions for token in c.token_ids], dtype=torch.int32),
        "logprobs": torch.tensor([logp for c in completions for logp in c.logprobs], dtype=torch.float64),
        **({"values": torch.cat(values)} if values else {}),  # by a critic that has changed since
    }


def _without_tokens(completion: Completion) -> Completion:
    return replace(completion, token_ids=(), logprobs=())


def unpack(packed: Mapping[str, Any], config: RL, tokenizer: PreTrainedTokenizerBase) -> Rollout:
    """Return the rollout that `pack` packed, bit for bit, except for its durations."""
    lengths = packed["lengths"].tolist()
    tokens = zip(*(torch.split(packed[name], lengths) for name in ("token_ids", "logprobs")), strict=True)

    def with_tokens(completion: Completion) -> Completion:
        token_ids, logprobs = next(tokens)
        return replace(completion, token_ids=tuple(token_ids.tolist()), logprobs=tuple(logprobs.tolist()))

    groups = [
        Group(
            make_prompt(saved.problem, config, tokenizer),
            [with_tokens(c) for c in saved.completions],
            saved.scores,
            saved.rewards,
        )
        for saved in _SAVED_GROUPS.validate_python(packed["drawn"])
    ]
    selected = _select(groups, config)
    if "values" in packed:
        lengths = [len(c.token_ids) for group in selected for c in group.completions]
        selected = with_values(selected, torch.split(packed["values"], lengths))
    return Rollout(packed["step"], groups, selected)


def metrics(rollout: Rollout, reward_names: Sequence[str]) -> Mapping[str, float | str]:
    """Return the metrics of a rollout, in TRL's names. They are computed once, and the same at all of its updates.

    Rewards are means over graded completions.
    """
    if rollout.metrics is None:
        rollout.metrics = _metrics(rollout, reward_names)
    return rollout.metrics


def _metrics(rollout: Rollout, reward_names: Sequence[str]) -> dict[str, float | str]:
    groups = rollout.sampled
    completions = [c for group in groups for c in group.completions]
    scores = [s for group in groups for s in group.scores]
    texts = [c.text for c in completions]
    lengths = [c.length for c in completions]
    graded = [score for score in scores if not score.masked]
    rewards = [[r for r, counts in zip(group.rewards, group.graded, strict=True) if counts] for group in groups]
    return {
        "reward": _mean([reward for group in rewards for reward in group]),
        "reward_std": _mean([pstdev(group) for group in rewards if group]),
        **_means_by_reward(graded, reward_names),
        "completions/mean_length": fmean(lengths),
        "completions/max_length": max(lengths),
        "completions/clipped_ratio": fmean(c.finish_reason == "length" for c in completions),
        "completions/repetition": fmean(repetition(c.sampled_ids) for c in completions),
        "completions/reflective_words": fmean(map(reflective_words, texts)),
        "completions/other_language": other_language_share(
            texts, [group.problem.language for group in groups for _ in group.completions]
        ),
        "frac_reward_zero_std": fmean(not group.has_variance for group in groups),
        "groups": len(rollout.selected),
        **_episodes(completions),
        "sampling/weights_lag": max(abs(rollout.step - c.weights_version) for c in completions),
        **_grading_failures([score for score in scores if score.masked], len(scores)),
    }


def _episodes(completions: Sequence[Completion]) -> dict[str, float]:
    """Return the metrics of episodes; {} without an environment."""
    if not any(c.spans for c in completions):
        return {}
    return {
        "episodes/turns": fmean(sum(span.role == ASSISTANT for span in c.spans) for c in completions),
        "episodes/environment_tokens": fmean(len(c.token_ids) - c.length for c in completions),
    }


def _means_by_reward(graded: Sequence[Score], reward_names: Sequence[str]) -> dict[str, float]:
    """Return the mean of every reward over the completions that have it.

    Rewards that no completion has are left out; if no completion was graded, all are NaN.
    """
    values = {name: [score.parts[name] for score in graded if name in score.parts] for name in reward_names}
    return {f"rewards/{name}/mean": _mean(each) for name, each in values.items() if each or not graded}


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else nan


def _grading_failures(masked: Sequence[Score], total: int) -> dict[str, float | str]:
    """Return the share of completions that could not be graded and the first reason; {} without any."""
    return {"completions/ungraded": len(masked) / total, "ungraded_reason": masked[0].reason} if masked else {}


def completion_rows(step: int, groups: Sequence[Group], advantages: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Return the rows of rollouts/step_N.jsonl, one for each completion."""
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
            "tokens": completion.length,
            "finish_reason": completion.finish_reason,
            "level": group.problem.level,
            "family": group.problem.family,
            "language": group.problem.language,
            **({"spans": [[span.role, span.text] for span in completion.spans]} if completion.spans else {}),
        }
        for group, group_advantages in zip(groups, advantages, strict=True)
        for completion, score, reward, advantage in zip(
            group.completions, group.scores, group.rewards, group_advantages, strict=True
        )
    ]
