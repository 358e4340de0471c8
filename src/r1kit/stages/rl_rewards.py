"""Score the completions of an RL stage with rules, worker processes and reward models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from r1kit.config import RL
from r1kit.data.prompt import Prompt
from r1kit.engine.base import Finished
from r1kit.learn.memory import moved, offloads
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.pool import RewardPool, needs_processes, score_here
from r1kit.rollout.score import score_group, score_request
from r1kit.stages.context import StageContext
from r1kit.stages.reward_model import Answer, RewardModelScorer
from r1kit.stages.rl_prompts import RLPrompts
from r1kit.types import Completion, Problem, Score

LONG_COMPLETION = 4_096  # tokens; to identify the language of so much text takes milliseconds

ModelReward = Callable[[Sequence[Answer]], list[float]]


class RLRewards:
    """The rewards of one RL stage. Close it, or leave its `with` block, to end the worker processes."""

    def __init__(self, config: RL, context: StageContext, prompts: RLPrompts) -> None:
        self.prompts = prompts
        self.partial_credit = config.partial_credit
        self.pool: RewardPool | None = None
        slow = "language" in config.reward_names and config.longest_completion >= LONG_COMPLETION
        if slow or needs_processes(config.reward_names, {problem.verifier for problem in prompts.problems}):
            self.pool = RewardPool(context.reward_workers, settings=Settings.from_dict(context.grading))
        names = [name for name in config.reward_names if name in context.models and name != config.model]
        self.device, self.seconds_in_models = context.device, 0.0
        kept_on = "cpu" if offloads(config, context.device) else context.device  # between two rollouts
        self.models: dict[str, ModelReward] = {
            name: RewardModelScorer(context.models[name], kept_on, context.dtype) for name in names
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pool is not None:
            self.pool.__exit__(kind, error, trace)

    def scorer_of_finished(self, prompts: Sequence[Prompt]) -> Finished | None:
        """Return a callback for `Engine.generate` that starts scoring each finished completion in the background.

        `score` collects the results. None without worker processes: rules are fast enough to run afterwards.
        """
        if self.pool is None:
            return None
        begin, partial_credit = self.pool.begin, self.partial_credit
        by_id = {prompt.problem.id: prompt for prompt in prompts}
        rules = {problem_id: self._rules(prompt.problem) for problem_id, prompt in by_id.items()}

        def on_finished(completion: Completion) -> None:
            prompt_id = completion.prompt_id
            begin(score_request(by_id[prompt_id], completion, rules[prompt_id], partial_credit))

        return on_finished

    def score(self, prompt: Prompt, completions: Sequence[Completion]) -> list[Score]:
        """Return the scores of all completions of one prompt, in order."""
        score_many = self.pool.score_many if self.pool is not None else score_here
        scores = score_group(prompt, completions, self._rules(prompt.problem), score_many, self.partial_credit)
        rewards = self.prompts.rewards(prompt.problem)
        weights = {name: weight for name, weight in rewards.items() if name in self.models}
        if not weights:
            return scores
        answers = [
            Answer(prompt.problem.question, prompt.full_response(c.text), truncated=c.finish_reason == "length")
            for c in completions
        ]
        start = time.monotonic()
        values = {name: self.models[name](answers) for name in weights}
        self.seconds_in_models += time.monotonic() - start
        return [
            _add_parts(score, {name: values[name][i] for name in weights}, weights) for i, score in enumerate(scores)
        ]

    @contextmanager
    def loaded_models(self) -> Iterator[None]:
        """Hold the reward models on the device of the stage within the block."""
        with ExitStack() as stack:
            for model in self.models.values():
                if isinstance(model, RewardModelScorer):
                    stack.enter_context(moved(model.model, self.device))
            yield

    def waiting_for(self) -> str:
        """Return what is being graded, for messages."""
        return self.pool.waiting_for() if self.pool is not None else "grading"

    def _rules(self, problem: Problem) -> dict[str, float]:
        """Return the rewards of a problem that no reward model gives."""
        return {name: weight for name, weight in self.prompts.rewards(problem).items() if name not in self.models}

    def take_report(self) -> dict[str, float]:
        """Return the metrics of the worker processes since the last report; {} without processes."""
        return self.pool.take_report() if self.pool is not None else {}


def _add_parts(score: Score, parts: Mapping[str, float], weights: Mapping[str, float]) -> Score:
    total = score.total + sum(weights[name] * part for name, part in parts.items())
    return replace(score, total=total, parts={**score.parts, **parts})
