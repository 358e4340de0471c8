"""The learner's gradient equals a plain implementation's, however work is shared and split."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from learner_batches import (
    LENGTHS,
    PROMPT_LENGTHS,
    TEMPERATURE,
    TRUNCATED,
    WITHOUT_CRITIC,
    G,
    config,
    gradient,
    plain_gradient,
    plain_terms,
    random_batch,
    random_groups,
    relative_error,
)

from r1kit.learn.advantage import group_advantages
from r1kit.learn.batch import make_batch
from r1kit.learn.learner import Learner
from r1kit.learn.loss import OBJECTIVES


@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize("objective", WITHOUT_CRITIC)
def test_gradient_equals_plain_implementation(learner, objective, beta):
    made = learner(objective=objective, beta=beta)
    batch = random_batch(made.model)
    loss, expected = plain_gradient(made, batch)
    sums, actual = gradient(made, batch)
    assert relative_error(actual, expected) < 1e-5
    assert sums["loss"] == pytest.approx(loss, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("model_type", ["llama", "qwen3"])
def test_gradient_of_other_families_with_untied_embeddings(make_decoder, model_type):
    model = make_decoder(3, model_type=model_type, tie_word_embeddings=False, num_key_value_heads=4)
    made = Learner(model, config())
    batch = random_batch(made.model)
    assert relative_error(gradient(made, batch)[1], plain_gradient(made, batch)[1]) < 1e-5


def test_common_template_is_computed_once(learner, monkeypatch):
    made = learner(micro_batch_tokens=200)
    batch = random_batch(made.model, template=20)
    _, expected = plain_gradient(made, batch)
    pass_tokens = []
    made.model.embed.register_forward_hook(lambda _, tokens, __: pass_tokens.append(tokens[0].numel()))
    # Sharing saves three prompts 20 tokens each.
    for threshold, first_passes in ((61, [4 * 31]), (60, [20, 4 * 11])):
        monkeypatch.setattr("r1kit.model.prefix.MIN_SAVED_TOKENS", threshold)
        pass_tokens.clear()
        _, actual = gradient(made, batch)
        assert relative_error(actual, expected) < 1e-5
        assert pass_tokens[: len(first_passes)] == first_passes


@pytest.mark.parametrize("objective", WITHOUT_CRITIC)
def test_duplicate_completions_are_computed_once(learner, objective):
    """Duplicates may differ in old log-probabilities and reward, but not in prompt or mask."""
    made = learner(objective=objective, micro_batch_tokens=10_000)
    prompts, groups = random_groups(made.model)
    ids = groups[0][2].token_ids
    for p, sample in ((0, 1), (0, 3), (1, 0), (1, 2)):
        other = groups[p][sample]
        old = (*other.logprobs, *groups[0][2].logprobs)[-len(ids) :]
        groups[p][sample] = replace(other, token_ids=ids, logprobs=old, finish_reason="stop")
    graded = torch.ones(len(prompts), G, dtype=torch.bool)
    graded[0, 3] = False
    advantages = group_advantages(torch.rand(len(prompts), G, generator=torch.Generator().manual_seed(4)))
    batch = make_batch(prompts, groups, advantages, temperature=TEMPERATURE, mask_truncated=True, graded_PG=graded)
    assert batch.duplicate_of_B.tolist()[:8] == [0, 1, 1, 3, 4, 5, 4, 7]
    rows = []
    made.model.embed.register_forward_hook(lambda _, tokens, __: rows.append(tokens[0].shape[0]))
    sums, actual = gradient(made, batch)
    assert sum(rows[1:]) == len(batch.duplicate_of_B.unique()), "the first pass is the prompts'"
    loss, expected = plain_gradient(made, batch)
    assert relative_error(actual, expected) < 1e-5
    assert sums["loss"] == pytest.approx(loss, rel=1e-4, abs=1e-6)
    _, entropy = plain_terms(made, batch)
    assert sums["entropy"] == pytest.approx(float(entropy.detach().sum()), rel=1e-4)


@pytest.mark.parametrize("objective", ["grpo", "dapo", "gspo", "dr_grpo"])
def test_micro_batch_size_does_not_change_gradient(learner, objective):
    made = learner(objective=objective, micro_batch_tokens=100_000)
    batch = random_batch(made.model)
    expected_sums, expected = gradient(made, batch)
    # 1: one row and one prompt at a time; 11, 22, 33: one, two or three prompts per block
    for tokens in (1, 11, 22, 33, 60):
        made.passes.micro_batch_tokens = tokens
        sums, actual = gradient(made, batch)
        total = torch.cat([x.flatten() for x in expected]).norm()
        assert torch.cat([(a - b).flatten() for a, b in zip(actual, expected, strict=True)]).norm() / total < 1e-6
        assert sums == pytest.approx(expected_sums, rel=1e-4, abs=1e-6)


def test_skip_zero_variance_leaves_out_only_their_kl(learner):
    kept, skipping = learner(beta=0.0), learner(beta=0.0, skip_zero_variance=True)
    batch = random_batch(kept.model)
    flat = torch.arange(len(LENGTHS)) // G == 1
    batch = replace(batch, advantages_B=batch.advantages_B.masked_fill(flat, 0.0))
    sums, actual = gradient(skipping, batch)
    assert relative_error(actual, gradient(kept, batch)[1]) < 1e-6
    assert sums["tokens"] == batch.completion_mask_BT[~flat].sum()
    with_kl, expected = learner(skip_zero_variance=True), learner()
    masked = replace(batch, completion_mask_BT=batch.completion_mask_BT & ~flat[:, None])
    assert relative_error(gradient(with_kl, batch)[1], gradient(expected, masked)[1]) < 1e-6


def test_skip_zero_variance_skips_nothing_when_no_group_varies(learner):
    skipping, plain = learner(skip_zero_variance=True), learner()
    batch = random_batch(skipping.model)
    batch = replace(batch, advantages_B=torch.zeros_like(batch.advantages_B))
    assert relative_error(gradient(skipping, batch)[1], gradient(plain, batch)[1]) == 0


def test_padding_does_not_change_gradient(learner):
    made = learner()
    batch = random_batch(made.model)
    other_padding = replace(
        batch,
        prompt_PL=batch.prompt_PL.where(batch.prompt_mask_PL, torch.tensor(7)),
        completion_BT=batch.completion_BT.where(batch.completion_mask_BT, torch.tensor(9)),
    )
    assert not torch.equal(other_padding.prompt_PL, batch.prompt_PL)
    assert relative_error(gradient(made, other_padding)[1], gradient(made, batch)[1]) == 0


@pytest.mark.parametrize("objective", WITHOUT_CRITIC)
def test_truncated_completions_are_masked(learner, objective):
    made = learner(objective=objective)
    batch = random_batch(made.model)
    masked = ~batch.completion_mask_BT.any(1)
    assert masked.nonzero().flatten().tolist() == sorted(TRUNCATED)
    changed = replace(
        batch,
        advantages_B=torch.where(masked, 100.0, batch.advantages_B),
        completion_BT=torch.where(masked[:, None], 3, batch.completion_BT),
        old_logp_BT=torch.where(masked[:, None], -0.1, batch.old_logp_BT),
    )
    sums, expected = gradient(made, batch)
    sums_changed, actual = gradient(made, changed)
    assert relative_error(actual, expected) == 0
    assert sums_changed == sums
    unmasked = random_batch(made.model, mask_truncated=False)
    assert unmasked.completion_mask_BT.sum() == sum(LENGTHS)
    assert relative_error(gradient(made, unmasked)[1], expected) > 1e-4


@pytest.mark.parametrize("objective", WITHOUT_CRITIC)
def test_ungraded_completions_do_not_count(learner, objective):
    """With one ungraded completion per group, gradient and sums are those of groups of G - 1."""
    made = learner(objective=objective)
    rewards = torch.rand(len(PROMPT_LENGTHS), G, generator=torch.Generator().manual_seed(6))
    graded = torch.ones(len(PROMPT_LENGTHS), G, dtype=torch.bool)
    graded[torch.arange(len(graded)), torch.tensor([2, 0, 3, 1])] = False
    rewards[~graded] = torch.tensor([1e6, -1e6, float("nan"), float("inf")])
    scaled = OBJECTIVES[objective].scale_by_std
    prompts, groups = random_groups(made.model)
    options = {"temperature": TEMPERATURE, "mask_truncated": False}
    full = make_batch(prompts, groups, group_advantages(rewards, scaled, graded), **options, graded_PG=graded)
    kept = [[group[i] for i in row.nonzero().flatten()] for group, row in zip(groups, graded, strict=True)]
    small = make_batch(prompts, kept, group_advantages(rewards[graded].view(-1, G - 1), scaled), **options)
    sums, actual = gradient(made, full)
    sums_small, expected = gradient(made, small)
    assert relative_error(actual, expected) < 1e-5
    assert sums == pytest.approx(sums_small, rel=1e-4, abs=1e-6)
    none = torch.zeros_like(graded)
    ungraded = make_batch(prompts, groups, group_advantages(rewards, scaled, none), **options, graded_PG=none)
    made.model.zero_grad()
    assert made.step(ungraded, 0)["grad_norm"] == 0


def test_batches_of_single_tokens_and_of_masked_completions(learner):
    made = learner(beta=0.0)
    single = random_batch(made.model, lengths=(1,) * len(LENGTHS))
    assert relative_error(gradient(made, single)[1], plain_gradient(made, single)[1]) < 1e-5
    masked = replace(single, completion_mask_BT=torch.zeros_like(single.completion_mask_BT))
    metrics = learner(beta=0.05).step(masked, 0)
    assert metrics["grad_norm"] == metrics["loss"] == metrics["kl"] == metrics["entropy"] == 0


@pytest.mark.parametrize("objective", WITHOUT_CRITIC)
def test_gradient_is_zero_without_advantages_and_kl(learner, objective):
    made = learner(objective=objective, beta=0.0)
    batch = random_batch(made.model)
    _, actual = gradient(made, replace(batch, advantages_B=torch.zeros_like(batch.advantages_B)))
    assert all((x == 0).all() for x in actual)


@pytest.mark.slow
def test_running_out_of_memory_halves_the_micro_batch(learner, monkeypatch, capsys):
    made = learner(micro_batch_tokens=100)
    batch = random_batch(made.model)
    _, expected = gradient(made, batch)
    accumulate, budgets = made._accumulate, []

    def fail_above_40(batch, *others):
        budgets.append(made.passes.micro_batch_tokens)
        if made.passes.micro_batch_tokens > 40:
            raise MemoryError
        return accumulate(batch, *others)

    monkeypatch.setattr(made, "_accumulate", fail_above_40)
    _, actual = gradient(made, batch)
    assert budgets == [100, 50, 25]
    assert relative_error(actual, expected) < 1e-5
    assert "micro_batch_tokens = 25 (same gradient)" in capsys.readouterr().err
    assert made.step(batch, 0)["micro_batch_tokens"] == 25
