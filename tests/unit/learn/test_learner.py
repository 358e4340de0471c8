"""Policy updates: metrics, skipped updates, the reference model, mixed precision, agreement with the engine."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from learner_batches import (
    CAP,
    PROMPT_LENGTHS,
    TEMPERATURE,
    WITHOUT_CRITIC,
    G,
    config,
    plain_gradient,
    plain_rows,
    plain_terms,
    random_batch,
)

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.native import NativeEngine
from r1kit.learn.batch import make_batch
from r1kit.learn.kl import k3
from r1kit.learn.learner import Learner
from r1kit.learn.loss import OBJECTIVES


@pytest.mark.parametrize("objective", WITHOUT_CRITIC)
def test_metrics_equal_plain_implementation(learner, objective):
    made = learner(objective=objective)
    batch = random_batch(made.model)
    terms, entropy = plain_terms(made, batch)
    loss, gradients = plain_gradient(made, batch)
    mask = batch.completion_mask_BT
    tokens = int(mask.sum())
    gap = (terms.logp_BT - batch.old_logp_BT).abs()[mask]
    ratio = OBJECTIVES[objective].ratio(terms).expand_as(mask)
    positive = batch.advantages_B[:, None] > 0
    clipped = torch.where(positive, ratio > 1.3, ratio < 0.8)
    if objective == "cispo":  # clips the weight, whatever the advantage
        clipped = (ratio > 1.3) | (ratio < 0.8)
    clipped &= mask
    expected = {
        "loss": loss,
        "grad_norm": float(torch.cat([g.flatten() for g in gradients]).norm()),
        "skipped": 0,
        "learning_rate": made.config.learning_rate,
        "kl": k3(terms.logp_BT, terms.ref_logp_BT)[mask].sum().item() / tokens,
        "entropy": entropy.sum().item() / tokens,
        "clip_ratio": int(clipped.sum()) / tokens,
        "sampling/logp_difference_mean": gap.mean().item(),
        "sampling/logp_difference_max": gap.max().item(),
    }
    assert expected["clip_ratio"] > 0
    assert expected["kl"] > 0.001
    assert made.step(batch, 0) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_non_finite_gradient_changes_nothing(learner, poison):
    made = learner(learning_rate=1e-2)
    batch = random_batch(made.model)
    made.step(batch, 0)
    before = copy.deepcopy((made.model.state_dict(), made.optimizer.state_dict()))
    metrics = made.step(replace(batch, advantages_B=torch.full_like(batch.advantages_B, poison)), 1)
    assert metrics["skipped"] == 1
    assert not math.isfinite(metrics["grad_norm"])
    after = (made.model.state_dict(), made.optimizer.state_dict())
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert made.step(batch, 2)["skipped"] == 0
    assert all(p.isfinite().all() for p in made.model.parameters())


def test_reference_is_refreshed_every_ref_refresh_steps(learner):
    def same(a, b) -> bool:
        return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))

    made = learner(ref_refresh_steps=3, learning_rate=1e-2)
    batch = random_batch(made.model)
    refreshed, before = [], copy.deepcopy(made.reference)
    for step in range(7):
        made.step(batch, step)
        refreshed.append(same(made.reference, made.model))
        assert refreshed[-1] or same(made.reference, before)
        before = copy.deepcopy(made.reference)
    assert refreshed == [False, False, True, False, False, True, False]
    assert not any(p.requires_grad for p in made.reference.parameters())


def test_reference_is_never_refreshed_with_ref_refresh_steps_0(learner):
    made = learner(ref_refresh_steps=0, learning_rate=1e-2)
    batch, start = random_batch(made.model), copy.deepcopy(made.reference)
    for step in range(4):
        made.step(batch, step)
    assert all(torch.equal(a, b) for a, b in zip(made.reference.parameters(), start.parameters(), strict=True))


def test_updates_raise_probability_of_good_completions(learner):
    made = learner(beta=0.0, learning_rate=1e-3)
    batch = random_batch(made.model, old_noise=0.0, mask_truncated=False)
    before = plain_rows(made.model, batch)[0].sum(1)
    for step in range(3):
        made.step(batch, step)
    change = (plain_rows(made.model, batch)[0].sum(1) - before).detach()
    assert float((change * batch.advantages_B).sum()) > 0
    assert all(p.grad is None for p in made.model.parameters())


@pytest.mark.slow
def test_bfloat16_weights_are_trained_through_fp32_master(make_decoder):
    """Updates far below bfloat16's resolution are kept, and gradients of micro-batches are summed in fp32."""
    exact = Learner(make_decoder(0), config(learning_rate=3e-6, micro_batch_tokens=11))
    low = Learner(make_decoder(0).bfloat16(), config(learning_rate=3e-6, micro_batch_tokens=11))
    batch = random_batch(exact.model)
    low.backward(batch, CAP)
    exact.backward(batch, CAP)
    for a, b in zip(low.master.parameters(), exact.model.parameters(), strict=True):
        assert torch.cosine_similarity(a.grad.flatten(), b.grad.flatten(), dim=0) > 0.95
    assert all(p.grad is None for p in low.model.parameters())
    before = [p.detach().clone() for p in low.master.parameters()]
    for step in range(3):
        low.step(batch, step)
    for old, high, rounded in zip(before, low.master.parameters(), low.model.parameters(), strict=True):
        assert high.dtype == torch.float32
        assert rounded.dtype == torch.bfloat16
        assert 0 < float((high.detach() - old).abs().max()) < 2e-5
        assert torch.equal(rounded, high.bfloat16())


def test_engine_and_learner_report_the_same_log_probabilities(learner, tokenizer):
    made = learner(learning_rate=1e-2)
    engine = NativeEngine(made.model, tokenizer)
    requests = [Request(f"p{n}", tuple(range(5, 5 + n)), G) for n in PROMPT_LENGTHS]
    for step in range(2):  # in the second step with updated weights: both hold the same module
        completions = engine.generate(requests, SamplingParams(step, 14, TEMPERATURE, top_p=0.9))
        groups = [completions[i : i + G] for i in range(0, len(completions), G)]
        advantages = torch.tensor([[1.0, -1.0, 0.5, -0.5]] * len(groups))
        prompts = [request.token_ids for request in requests]
        batch = make_batch(prompts, groups, advantages, temperature=TEMPERATURE, mask_truncated=False)
        metrics = made.step(batch, step)
        assert 0 < metrics["sampling/logp_difference_max"] < 2e-5
        assert metrics["clip_ratio"] == 0


def test_shares_of_bounded_tokens_are_metrics_where_the_bounds_are_set(learner):
    plain = learner().step(random_batch(learner().model), 0)
    assert not {"dual_clip_ratio", "importance_capped"} & plain.keys()
    made = learner(dual_clip=1.05, importance_cap=1.1)
    batch = random_batch(made.model)
    terms, _ = plain_terms(made, batch)
    ratio, mask = OBJECTIVES["grpo"].ratio(terms, None), batch.completion_mask_BT
    tokens = int(mask.sum())
    negative = (batch.advantages_B < 0)[:, None]
    metrics = made.step(batch, 0)
    assert metrics["importance_capped"] == pytest.approx(int(((ratio > 1.1) & mask).sum()) / tokens) != 0
    assert metrics["dual_clip_ratio"] == pytest.approx(int(((ratio > 1.05) & mask & negative).sum()) / tokens) != 0
