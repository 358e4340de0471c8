"""Score the completions of one problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from r1kit.config import Template
from r1kit.data.template import opens_think, render_prompt
from r1kit.rewards.score import ScoreRequest as Grading
from r1kit.rewards.workers.pool import Scorer, score_here
from r1kit.types import Completion, Problem, Score

FORMAT_AND_ACCURACY = {"accuracy": 1.0, "format": 1.0}


def grade_group(
    problem: Problem,
    group: Sequence[Completion],
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    weights: Mapping[str, float] = FORMAT_AND_ACCURACY,
    score_many: Scorer = score_here,
) -> list[Score]:
    """What every completion of one problem earns."""
    asked = grading(problem, template, tokenizer, weights)
    return score_many([asked(completion) for completion in group])


def grading(
    problem: Problem, template: Template, tokenizer: PreTrainedTokenizerBase, weights: Mapping[str, float]
) -> Callable[[Completion], Grading]:
    """What is to be asked of the rewards about each completion of one problem."""
    think_open = opens_think(render_prompt(problem.question, template, tokenizer))
    answer_tags = template == "r1-zero"
    return lambda one: Grading(
        problem, one.text, weights, think_open, answer_tags, truncated=one.finish_reason == "length"
    )
