"""Tokens that an environment wrote are read, and never trained on.

Shapes: B sequences, T completion tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from learner_batches import TEMPERATURE, WITHOUT_CRITIC, G, gradient, plain_gradient, random_groups, relative_error

from r1kit.learn.advantage import group_advantages
from r1kit.learn.batch import make_batch
from r1kit.types import ASSISTANT, Completion, Span, TrainBatch

TOOL = "tool"


def batch_of(prompts: list[list[int]], groups: Sequence[Sequence[Completion]]) -> TrainBatch:
    rewards = torch.rand(len(prompts), G, generator=torch.Generator().manual_seed(4))
    return make_batch(prompts, groups, group_advantages(rewards), temperature=TEMPERATURE, mask_truncated=False)


def with_tool(completion: Completion, first: int, length: int) -> Completion:
    """The same completion with tokens by a tool, where it is long enough. Their log-probability is 0."""
    after = len(completion.token_ids) - first - length
    if after < 0:
        return completion
    roles = ((ASSISTANT, first), (TOOL, length), (ASSISTANT, after))
    spans = tuple(Span(role, tokens) for role, tokens in roles if tokens)
    logprobs = completion.logprobs
    return replace(completion, spans=spans, logprobs=(*logprobs[:first], *[0.0] * length, *logprobs[first + length :]))


def map_groups(groups: Sequence[Sequence[Completion]], change) -> list[list[Completion]]:
    return [[change(completion) for completion in group] for group in groups]


@pytest.mark.parametrize("objective", WITHOUT_CRITIC)
def test_gradient_is_that_of_the_sampled_tokens(learner, objective):
    made = learner(objective=objective)
    prompts, groups = random_groups(made.model)
    groups = map_groups(groups, lambda completion: with_tool(completion, 2, 3))
    batch = batch_of(prompts, groups)
    sampled = sum(sum(completion.sampled) for group in groups for completion in group)
    assert 0 < int(batch.trained_BT.sum()) == sampled < int(batch.completion_mask_BT.sum())
    loss, expected = plain_gradient(made, batch)
    sums, actual = gradient(made, batch)
    assert sums["loss"] == pytest.approx(loss, rel=1e-4) and sums["tokens"] == sampled
    assert relative_error(actual, expected) < 1e-4
    flipped = batch_of(prompts, map_groups(groups, flip))
    assert relative_error(gradient(made, flipped)[1], expected) > 0.01


def flip(completion: Completion) -> Completion:
    """The same tokens with each author exchanged for the other."""
    roles = {ASSISTANT: TOOL, TOOL: ASSISTANT}
    return replace(completion, spans=tuple(Span(roles[span.role], span.length) for span in completion.spans))


@pytest.mark.parametrize("objective", WITHOUT_CRITIC)
def test_last_message_of_a_tool_changes_nothing(learner, objective):
    """Nothing is sampled behind it, so no gradient may depend on it."""
    made = learner(objective=objective)
    prompts, groups = random_groups(made.model)

    def ended_by_tool(completion: Completion) -> Completion:
        return with_tool(completion, max(1, len(completion.token_ids) - 2), 2)

    def rewritten(completion: Completion) -> Completion:
        kept = completion.sampled
        ids = [token if is_sampled else 3 for token, is_sampled in zip(completion.token_ids, kept, strict=True)]
        logprobs = [p if is_sampled else 50.0 for p, is_sampled in zip(completion.logprobs, kept, strict=True)]
        return replace(completion, token_ids=tuple(ids), logprobs=tuple(logprobs))

    ended = map_groups(groups, ended_by_tool)
    changed = map_groups(ended, rewritten)
    assert changed != ended
    sums, expected = gradient(made, batch_of(prompts, ended))
    sums_changed, actual = gradient(made, batch_of(prompts, changed))
    assert sums_changed == sums and relative_error(actual, expected) == 0
    trained = map_groups(changed, lambda completion: replace(completion, spans=()))
    assert relative_error(gradient(made, batch_of(prompts, trained))[1], expected) > 0.01


def test_equal_tokens_by_different_authors_are_no_duplicates(learner):
    made = learner()
    prompts, groups = random_groups(made.model)
    same = groups[0][2]
    own = [same, replace(same, sample=1), with_tool(replace(same, sample=2), 2, 3), with_tool(same, 2, 3)]
    batch = batch_of(prompts, [own, *groups[1:]])
    assert batch.duplicate_of_B[:G].tolist() == [0, 0, 2, 2]
    assert relative_error(gradient(made, batch)[1], plain_gradient(made, batch)[1]) < 1e-4
