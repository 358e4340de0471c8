"""Which prompts an RL stage draws at which step, and how each is rewarded (paper eq. 8 to 10).

reasoning prompts   rule rewards                             from the first step on
general prompts     a reward model, format, language, ...    in the last `general_steps`
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor

from r1kit.config import RL
from r1kit.data.problems import PromptStream, load_problems
from r1kit.hashing import derive_seed
from r1kit.types import Problem


class RLPrompts:
    """The problems of one RL stage, as an endless sequence that depends on the seed and the step only."""

    def __init__(self, config: RL, seed: int) -> None:
        self.config = config
        reasoning = load_problems(config.prompts)
        self.reasoning = PromptStream(reasoning, derive_seed(seed, "prompts"))
        groups = [(load_problems(group.prompts, answered=False), group.rewards) for group in config.general]
        self.general_rewards = {problem.id: rewards for problems, rewards in groups for problem in problems}
        general = [problem for problems, _ in groups for problem in problems]
        self.general = PromptStream(general, derive_seed(seed, "general")) if general else None
        self.problems = [*reasoning, *general]

    def take(self, cursor: int, count: int, step: int) -> list[Problem]:
        """Return problems number `cursor` to `cursor + count` for a rollout at `step`. A pure function.

        Both streams advance with every number: where a general prompt is drawn, the reasoning prompt of that number
        is skipped, and the other way round. The order within each stream is random, so this favors no prompt.
        """
        return [self._stream(number, step).take(number, 1)[0] for number in range(cursor, cursor + count)]

    def _stream(self, number: int, step: int) -> PromptStream:
        if self.general is None or step < self.config.steps - self.config.general_steps:
            return self.reasoning
        share = self.config.general_share
        is_general = floor((number + 1) * share) > floor(number * share)  # spreads general prompts evenly
        return self.general if is_general else self.reasoning

    def rewards(self, problem: Problem) -> Mapping[str, float]:
        """Return the rewards of a problem: name -> weight."""
        return self.general_rewards.get(problem.id, self.config.rewards)
