"""The groups of a rollout: prompts, completions, scores and rewards, and how long it took.

A rollout is sampled and graded by `stages.rl_rollout`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from r1kit.data.prompt import Prompt
from r1kit.learn.advantage import has_variance
from r1kit.types import Completion, Problem, Score


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt, its completions, their scores and rewards."""

    prompt: Prompt
    completions: Sequence[Completion]
    scores: Sequence[Score]
    rewards: Sequence[float]  # the total of each score, with the length penalty
    values: Sequence[
        torch.Tensor
    ] = ()  # the critic's, in PPO: of each completion, those of the states before its tokens

    @property
    def problem(self) -> Problem:
        """The problem of the prompt."""
        return self.prompt.problem

    @property
    def graded(self) -> list[bool]:
        """False where grading failed: such a completion is excluded from all statistics and from the update."""
        return [not score.masked for score in self.scores]

    @property
    def has_variance(self) -> bool:
        """Whether the rewards differ, so that some advantage is not zero."""
        return bool(has_variance(torch.tensor([self.rewards]), torch.tensor([self.graded])))


@dataclass(slots=True)
class Seconds:
    """How long a rollout took."""

    generating: float = 0.0
    grading: float = 0.0  # after the last completion was sampled
    in_reward_models: float = 0.0  # of `grading`
    waited: float | None = None  # by the trainer, if the rollout was sampled beside its updates

    def metrics(self) -> dict[str, float]:
        """Return the seconds of the trainer by phase, and under time/overlapped/ what passed beside its updates."""
        generating, grading = self.generating, self.grading
        if self.waited is not None:  # a rollout ends with grading
            grading = min(self.waited, grading)
            generating = min(self.waited - grading, generating)
        times = {"time/rollout": generating, "time/grade": grading}
        if self.in_reward_models:
            times["time/reward_models"] = self.in_reward_models * grading / self.grading
        if self.waited is not None:
            times["time/overlapped/rollout"] = self.generating - generating
            times["time/overlapped/grade"] = self.grading - grading
        return times


@dataclass(slots=True)
class Rollout:
    """The groups of one rollout."""

    step: int  # updates done before the first that trains on it
    sampled: list[Group] = field(default_factory=list)  # all groups
    selected: list[Group] = field(default_factory=list)  # groups to train on; under dynamic sampling with variance
    seconds: Seconds = field(default_factory=Seconds)
    report: Mapping[str, float] = field(default_factory=dict)  # of the worker processes, see `RLRewards.take_report`
    metrics: Mapping[str, float | str] | None = None  # set by `metrics`

    @property
    def tokens(self) -> int:
        """The number of sampled tokens."""
        return sum(c.length for group in self.sampled for c in group.completions)
