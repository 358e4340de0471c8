"""Which prompts an RL stage draws at which step, and how each is rewarded (paper eq. 8 to 10).

reasoning prompts   rule rewards                             from the first step on
general prompts     a reward model, format, language, ...    in the last `general_steps`

Prompts that overlap with a benchmark of the stage or of the recipe's evaluate stages are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from math import floor

from r1kit.config import RL, PromptSource
from r1kit.console import heartbeat, say
from r1kit.data.problems import PromptStream, load_problems
from r1kit.data.store import DataError
from r1kit.evals.contamination import Contamination
from r1kit.hashing import derive_seed
from r1kit.types import Problem


class RLPrompts:
    """The problems of one RL stage, as an endless sequence that depends on the seed and the step only."""

    def __init__(self, config: RL, seed: int, benchmarks: Mapping[str, Sequence[Problem]] | None = None) -> None:
        self.config = config
        keep = partial(_without_overlaps, _Index(benchmarks or {}, config.ngram))
        reasoning = load_problems(config.prompts, keep=keep)
        self.reasoning = PromptStream(reasoning, derive_seed(seed, "prompts"))
        groups = [(load_problems(group.prompts, answered=False, keep=keep), group.rewards) for group in config.general]
        self.general_rewards = {problem.id: rewards for problems, rewards in groups for problem in problems}
        general = [problem for problems, _ in groups for problem in problems]
        self.general = PromptStream(general, derive_seed(seed, "general")) if general else None
        self.problems = [*reasoning, *general]
        self.first_general_step = config.steps - config.general_steps  # if there are general prompts

    def take(self, cursor: int, count: int, step: int) -> list[Problem]:
        """Return problems number `cursor` to `cursor + count` for a rollout at `step`. A pure function.

        Each `prompts_per_step` problems are drawn for one of the updates `step`, `step + 1`, ... of the rollout, so
        general prompts begin at their own step even inside a rollout.

        Both streams advance with every number: where a general prompt is drawn, the reasoning prompt of that number
        is skipped, and the other way round. The order within each stream is random, so this favors no prompt.
        """
        updates = (step + index // self.config.prompts_per_step for index in range(count))
        numbers = range(cursor, cursor + count)
        return [self._stream(*each).take(each[0], 1)[0] for each in zip(numbers, updates, strict=True)]

    def _stream(self, number: int, step: int) -> PromptStream:
        if self.general is None or step < self.first_general_step:
            return self.reasoning
        share = self.config.general_share
        is_general = floor((number + 1) * share) > floor(number * share)  # spreads general prompts evenly
        return self.general if is_general else self.reasoning

    def rewards(self, problem: Problem) -> Mapping[str, float]:
        """Return the rewards of a problem: name -> weight."""
        return self.general_rewards.get(problem.id, self.config.rewards)

    def is_general(self, problem: Problem) -> bool:
        """Return whether no rule can check a problem."""
        return problem.id in self.general_rewards


def merged(*benchmarks: Mapping[str, Sequence[Problem]]) -> dict[str, list[Problem]]:
    """Return the problems of all benchmarks by name."""
    names = dict.fromkeys(name for group in benchmarks for name in group)
    return {name: [problem for group in benchmarks for problem in group.get(name, ())] for name in names}


class _Index:
    """The benchmarks of a stage, indexed when a source is first compared with them."""

    def __init__(self, benchmarks: Mapping[str, Sequence[Problem]], n: int) -> None:
        self.benchmarks, self.n = benchmarks, n

    @cached_property
    def contamination(self) -> Contamination:
        with heartbeat("indexing the benchmarks"):
            return Contamination(self.benchmarks, self.n)


def _without_overlaps(index: _Index, source: PromptSource, problems: Sequence[Problem]) -> Sequence[Problem]:
    """Return the problems that overlap with no benchmark, and print how many do. DataError if all do."""
    if source.is_generated or not index.n or not index.benchmarks:
        return problems
    found = [index.contamination.find(problem.question) for problem in problems]
    clean = [problem for problem, benchmark in zip(problems, found, strict=True) if benchmark is None]
    counts = Counter(name for name in found if name is not None)
    overlaps = ", ".join(f"{number} with {name}" for name, number in counts.most_common())
    removed = len(problems) - len(clean)
    if not clean:
        raise DataError(
            f"{source.source}: all {len(problems)} prompts overlap with the benchmarks ({overlaps}): train on other "
            "problems than those you measure with, raise ngram, or set ngram = 0 to keep them"
        )
    why = f": they overlap with benchmarks ({overlaps})" if removed else ", which overlap with benchmarks"
    say(f"{source.source}: {removed} of {len(problems)} prompts left out{why}")
    return clean
