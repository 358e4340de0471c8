"""Which prompts an RL stage draws when, and what answers to each of them earn (paper eq. 8 to 10).

reasoning prompts   rule rewards                              from the first step on
general prompts     a reward model, format, language, ...     in the last `general_steps`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import floor
from typing import Any, Self

from transformers import PreTrainedTokenizerBase

from r1kit.config import RL
from r1kit.data.problems import PromptStream, load_problems
from r1kit.data.template import opens_think, render_prompt
from r1kit.engine.base import Finished
from r1kit.hashing import derive_seed
from r1kit.rewards.score import ScoreRequest
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.pool import RewardPool, needs_processes, score_here
from r1kit.rollout.score import grade_group, grading
from r1kit.stages.context import StageContext
from r1kit.stages.reward_model import RewardScorer
from r1kit.types import Completion, Problem, Score


class Scenarios:
    """The prompts and rewards of one RL stage."""

    def __init__(self, config: RL, context: StageContext) -> None:
        self.config = config
        reasoning = load_problems(config.prompts)
        self.reasoning = PromptStream(reasoning, derive_seed(context.seed, "prompts"))
        general = [(load_problems(group.prompts, answered=False), group.rewards) for group in config.general]
        self.rewards = {problem.id: rewards for problems, rewards in general for problem in problems}
        prompts = [problem for problems, _ in general for problem in problems]
        self.general = PromptStream(prompts, derive_seed(context.seed, "general")) if prompts else None
        models = [name for name in config.reward_names if name in context.models and name != config.model]
        self.problems = [*reasoning, *prompts]
        self.pool: RewardPool | None = None
        if needs_processes(config.reward_names, {problem.verifier for problem in self.problems}):
            self.pool = RewardPool(context.reward_workers, settings=Settings.from_dict(context.grading))
        self.scorers = {name: RewardScorer(context.models[name], context.device, context.dtype) for name in models}

    def take(self, cursor: int, count: int, step: int) -> list[Problem]:
        """Prompts number `cursor` to `cursor + count` for a rollout at `step`: a pure function of its arguments.

        Where the turn is a general prompt's, the reasoning prompt of that number is left out, and the other way round:
        the order within each stream is random, so nobody is favoured by that.
        """
        return [
            (self.general if self._is_general(n, step) else self.reasoning).take(n, 1)[0]
            for n in range(cursor, cursor + count)
        ]

    def _is_general(self, number: int, step: int) -> bool:
        share = self.config.general_share  # as evenly as can be
        its_turn = floor((number + 1) * share) > floor(number * share)
        return self.general is not None and step >= self.config.steps - self.config.general_steps and its_turn

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if self.pool is not None:
            self.pool.__exit__(*error)

    def take_report(self) -> dict[str, float]:
        """What grading processes did since this was last asked; nothing where plain rules are enough."""
        return self.pool.take_report() if self.pool is not None else {}

    def beside(self, problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase) -> Finished | None:
        """What hands answers to these problems to the grading processes, if there are any, as they are finished."""
        pool, known = self.pool, {problem.id: problem for problem in problems}
        if pool is None:
            return None

        @cache
        def asked(problem_id: str) -> Callable[[Completion], ScoreRequest]:
            return grading(known[problem_id], self.config.template, tokenizer, self._rules(known[problem_id]))

        return lambda completion: pool.begin(asked(completion.prompt_id)(completion))

    def _weights(self, problem: Problem) -> Mapping[str, float]:
        return self.rewards.get(problem.id, self.config.rewards)

    def _rules(self, problem: Problem) -> dict[str, float]:
        """The rewards that no model gives."""
        return {name: weight for name, weight in self._weights(problem).items() if name not in self.scorers}

    def grade(
        self, problem: Problem, completions: Sequence[Completion], tokenizer: PreTrainedTokenizerBase
    ) -> list[Score]:
        """What every completion of one problem earns."""
        score_many = self.pool.score_many if self.pool is not None else score_here
        scores = grade_group(problem, completions, self.config.template, tokenizer, self._rules(problem), score_many)
        asked = {name: weight for name, weight in self._weights(problem).items() if name in self.scorers}
        if not asked:
            return scores
        opened = opens_think(render_prompt(problem.question, self.config.template, tokenizer))
        answers = [(problem.question, f"<think>{one.text}" if opened else one.text) for one in completions]
        found = {name: self.scorers[name](answers) for name in asked}
        return [_with(score, {name: found[name][i] for name in asked}, asked) for i, score in enumerate(scores)]


def _with(score: Score, parts: Mapping[str, float], weights: Mapping[str, float]) -> Score:
    """The score with more parts."""
    total = score.total + sum(weights[name] * part for name, part in parts.items())
    return replace(score, total=total, parts={**score.parts, **parts})
