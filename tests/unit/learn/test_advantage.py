"""Group-relative advantages and the length penalty: vectors of other trainers, invariants, worked examples."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from public_data import fixture_and_shared

from r1kit.learn.advantage import group_advantages, has_variance, overlong_penalty
from r1kit.learn.kl import KLPenalty, k3
from r1kit.learn.loss import Clip, Norm, Terms, grpo

# Quantities of the vector file that r1kit does not compute. Any other quantity must be in COMPUTE.
NOT_IMPLEMENTED = {
    "rloo_advantage", "maxrl_advantage", "multi_reward_decoupled_advantage_gdpo", "gae_whitened_advantage",
    "advantage_broadcast", "advantage_clip", "ppo_kl_shaped_reward",
    "kl_k1", "kl_k2", "kl_k3_clamped", "kl_gradient_with_sampling_term",
}  # fmt: skip


def grouped(inputs) -> torch.Tensor:
    rewards = torch.tensor(inputs["rewards"], dtype=torch.float32)
    groups = len(set(inputs["group_index"])) if "group_index" in inputs else len(rewards) // inputs["group_size"]
    return rewards.view(groups, -1)


def std_property(inputs):
    values = group_advantages(grouped(inputs)).flatten()
    opposites = [[i, j] for i in range(3) for j in range(i + 1, 3) if values[i] == -values[j]]
    return {"sign": values.sign(), "antisymmetric": torch.tensor(opposites).flatten()}


def loss_parts(inputs):
    logp, ref = (torch.tensor(inputs[key], dtype=torch.float32) for key in ("logprobs", "ref_logprobs"))
    mask = torch.ones_like(logp, dtype=torch.bool)
    terms = Terms(logp, logp, ref, torch.tensor(inputs["advantages"])[:, 0].float(), mask)
    per_token = k3(logp, ref)
    loss = grpo(terms, Clip(0.2, 0.2), KLPenalty(inputs["beta"]), Norm(len(logp), logp.numel(), logp.shape[1]))
    return {"per_token": per_token, "mean": per_token.mean(), "loss": loss}


def kl(inputs) -> torch.Tensor:
    logp, ref = (torch.tensor(inputs[key], dtype=torch.float32) for key in ("logprobs", "ref_logprobs"))
    return k3(logp, ref) * torch.tensor(inputs.get("mask", 1))


COMPUTE = {
    "group_advantage_std": lambda inputs: group_advantages(grouped(inputs)).flatten(),
    "group_advantage_no_std": lambda inputs: group_advantages(grouped(inputs), scale_by_std=False).flatten(),
    "group_advantage_std_property": std_property,
    "advantage_sum_is_zero": lambda inputs: group_advantages(grouped(inputs)).sum(),
    "kl_k3": kl,
    "kl_estimators": lambda inputs: {"k3": kl(inputs)},
    "kl_k3_loss_mean": loss_parts,
}


@fixture_and_shared("learn", "vectors/rl_numeric.jsonl")
def test_vectors(path: Path):
    checked = []
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if row["quantity"] in NOT_IMPLEMENTED:
            continue
        assert row["inputs"].get("ddof", 1) == 1
        result, expected = COMPUTE[row["quantity"]](row["inputs"]), row["expected"]
        actual = result if isinstance(result, dict) else {"value": result}
        wanted = expected if isinstance(result, dict) else {"value": expected}
        for name, value in actual.items():
            target = torch.tensor(wanted[name], dtype=torch.float32)
            message = f"{row['id']}, {name}: {value} is not {target}"
            torch.testing.assert_close(value.float(), target, **row["tolerance"], msg=message)
        checked.append(row["quantity"])
    assert set(checked) == set(COMPUTE)


def test_worked_example():
    # The first group has mean 1, sum of squares 2 and sample variance 2/3.
    rewards = torch.tensor([[0.0, 1.0, 1.0, 2.0], [5.0, 5.0, 5.0, 9.0]])
    std = math.sqrt(2 / 3)
    expected = torch.tensor([[-1 / std, 0, 0, 1 / std], [-0.5, -0.5, -0.5, 1.5]])
    torch.testing.assert_close(group_advantages(rewards), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(group_advantages(rewards, False), torch.tensor([[-1.0, 0, 0, 1], [-1, -1, -1, 3]]))


@pytest.mark.parametrize("scale", [True, False])
def test_groups_without_variance_have_advantage_exactly_zero(scale):
    for value in (0.0, 1.0, 0.1, -0.3, 1 / 3, 1e6 + 0.1):
        for size in (1, 2, 3, 7, 16):
            assert torch.equal(group_advantages(torch.full((2, size), value), scale), torch.zeros(2, size))
            assert not has_variance(torch.full((2, size), value)).any()
    singletons = group_advantages(torch.tensor([[3.0], [0.0]]), scale)
    assert torch.equal(singletons, torch.zeros(2, 1))
    mixed = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    assert has_variance(mixed).tolist() == [False, True]
    constant, varied = group_advantages(mixed, scale)
    assert torch.equal(constant, torch.zeros(2))
    assert (varied != 0).all()


group_rewards = st.lists(st.integers(-4, 4), min_size=2, max_size=12)


@given(group_rewards, st.floats(0.1, 10), st.floats(-5, 5))
def test_advantages_are_standardized_shift_invariant_and_per_group(values, scale, shift):
    rewards = torch.tensor([values], dtype=torch.float64)
    advantages = group_advantages(rewards)
    assert abs(float(advantages.sum())) < 1e-9
    torch.testing.assert_close(group_advantages(rewards * scale + shift), advantages, rtol=1e-4, atol=1e-9)
    if len(set(values)) > 1:
        assert float(advantages.std()) == pytest.approx(1, abs=1e-5)
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(group_advantages(rewards[:, order]), advantages[:, order])
    with_another = torch.cat((rewards, rewards * 0 + torch.arange(len(values))))
    torch.testing.assert_close(group_advantages(with_another)[:1], advantages)


def test_overlong_penalty_worked_example():
    lengths = torch.tensor([1, 80, 81, 85, 90, 95, 99, 100, 140])
    expected = torch.tensor([0, 0, -0.05, -0.25, -0.5, -0.75, -0.95, -1, -1])
    torch.testing.assert_close(overlong_penalty(lengths, max_length=100, buffer=20), expected)
