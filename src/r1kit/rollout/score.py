"""Score the completions of a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from r1kit.data.prompt import Prompt
from r1kit.rewards.score import ScoreRequest
from r1kit.rewards.workers.pool import Scorer, score_here
from r1kit.types import Completion, Score

ACCURACY_AND_FORMAT = {"accuracy": 1.0, "format": 1.0}


def score_group(
    prompt: Prompt,
    completions: Sequence[Completion],
    weights: Mapping[str, float] = ACCURACY_AND_FORMAT,
    score_many: Scorer = score_here,
    partial_credit: bool = False,
) -> list[Score]:
    """Return the scores of all completions of one prompt, in order.

    Args:
        prompt: The prompt that the completions continue.
        completions: The completions.
        weights: Reward name -> weight.
        score_many: Where rewards are computed: in this process, or in a `RewardPool`.
        partial_credit: See `config.Scoring`.
    """
    return score_groups([prompt], [completions], weights, score_many, partial_credit)[0]


def score_groups(
    prompts: Sequence[Prompt],
    groups: Sequence[Sequence[Completion]],
    weights: Mapping[str, float],
    score_many: Scorer = score_here,
    partial_credit: bool = False,
) -> list[list[Score]]:
    """Return the scores of the completions of each prompt. All are scored together, in as many processes as there are.

    The arguments are those of `score_group`.
    """
    pairs = zip(prompts, groups, strict=True)
    requests = [score_request(prompt, each, weights, partial_credit) for prompt, group in pairs for each in group]
    scores = iter(score_many(requests))
    return [list(islice(scores, len(group))) for group in groups]


def score_request(
    prompt: Prompt, completion: Completion, weights: Mapping[str, float], partial_credit: bool = False
) -> ScoreRequest:
    """Return the request to score one completion of a prompt."""
    return ScoreRequest(
        prompt.problem,
        completion.text,
        weights,
        think_open=prompt.think_open,
        answer_tags=prompt.answer_tags,
        truncated=completion.finish_reason == "length",
        token_count=completion.length,
        partial_credit=partial_credit,
        environment=completion.environment_score,
        failure=completion.failure,
    )
