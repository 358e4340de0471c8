"""Advantages of groups and tokens, and the length penalty: vectors of other trainers, invariants, worked examples."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from public_data import fixture_and_shared

from r1kit.learn.advantage import (
    explained_variance,
    generalised_advantages,
    group_advantages,
    has_variance,
    overlong_penalty,
    token_rewards,
    whiten,
)
from r1kit.learn.kl import KLPenalty, k1, k3
from r1kit.learn.loss import Clip, Norm, Terms, grpo

# Quantities of the vector file that r1kit does not compute. Any other quantity must be in COMPUTE.
NOT_IMPLEMENTED = {
    "rloo_advantage", "maxrl_advantage", "multi_reward_decoupled_advantage_gdpo",
    "advantage_broadcast", "advantage_clip", "kl_k2", "kl_k3_clamped", "kl_gradient_with_sampling_term",
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
    terms = Terms(logp, logp, ref, torch.tensor(inputs["advantages"])[:, :1].float(), mask)
    per_token = k3(logp, ref)
    loss = grpo(terms, Clip(0.2, 0.2), KLPenalty(inputs["beta"]), Norm(len(logp), logp.numel(), logp.shape[1]))
    return {"per_token": per_token, "mean": per_token.mean(), "loss": loss}


def kl(inputs, estimate=k3) -> torch.Tensor:
    logp, ref = (torch.tensor(inputs[key], dtype=torch.float32) for key in ("logprobs", "ref_logprobs"))
    return estimate(logp, ref) * torch.tensor(inputs.get("mask", 1))


def whitened_gae(inputs) -> torch.Tensor:
    rewards, values = (torch.tensor(inputs[key], dtype=torch.float32) for key in ("token_rewards", "values"))
    return whiten(
        generalised_advantages(rewards, values, inputs["gamma"], inputs["lam"]), torch.tensor(inputs["mask"]).bool()
    )


def rewards_with_kl(inputs):
    divergence = kl(inputs, k1)
    everything = torch.ones_like(divergence, dtype=torch.bool)
    scores = torch.tensor(inputs["scores"], dtype=torch.float32)
    return {"rewards": token_rewards(scores, everything, inputs["kl_coeff"] * divergence), "kl": divergence}


COMPUTE = {
    "group_advantage_std": lambda inputs: group_advantages(grouped(inputs)).flatten(),
    "group_advantage_no_std": lambda inputs: group_advantages(grouped(inputs), scale_by_std=False).flatten(),
    "group_advantage_std_property": std_property,
    "advantage_sum_is_zero": lambda inputs: group_advantages(grouped(inputs)).sum(),
    "kl_k3": kl,
    "kl_k1": lambda inputs: kl(inputs, k1),
    "kl_estimators": lambda inputs: {"k1": kl(inputs, k1), "k3": kl(inputs)},
    "gae_whitened_advantage": whitened_gae,
    "ppo_kl_shaped_reward": rewards_with_kl,
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


# -- PPO ----------------------------------------------------------------------------------------------------------


def test_token_rewards_of_a_worked_example():
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    penalty = torch.tensor([[0.1, -0.2, 0.3], [0.5, 9.0, 9.0], [9.0, 9.0, 9.0]])
    expected = [[-0.1, 0.2, 2 - 0.3], [1 - 0.5, 0, 0], [0, 0, 0]]
    rewards = token_rewards(torch.tensor([2.0, 1.0, 7.0]), mask, penalty)
    torch.testing.assert_close(rewards, torch.tensor(expected))


def test_generalised_advantages_of_a_worked_example():
    """Gamma 0.9, lambda 0.5. Deltas: 0.9 * 2 - 1 = 0.8, 1 + 0.9 * 3 - 2 = 1.7, 5 - 3 = 2. A: 2, 1.7 + 0.45 * 2, ..."""
    rewards, values = torch.tensor([[0.0, 1, 5], [4, 0, 0]]), torch.tensor([[1.0, 2, 3], [1, 0, 0]])
    expected = torch.tensor([[0.8 + 0.45 * 2.6, 1.7 + 0.45 * 2, 2], [3, 0, 0]])
    torch.testing.assert_close(generalised_advantages(rewards, values, 0.9, 0.5), expected)


@pytest.mark.parametrize(
    ("gae_lambda", "expected"),
    [
        (1.0, [[2 - 0.5, 2 - 1, 2 - 1.5]]),  # reward to come minus value
        (0.0, [[1 - 0.5, 1.5 - 1, 2 - 1.5]]),  # one-step temporal differences
        (0.95, [[0.5 + 0.95 * (0.5 + 0.95 * 0.5), 0.5 + 0.95 * 0.5, 0.5]]),  # that of the paper
    ],
)
def test_lambda_goes_from_temporal_differences_to_returns(gae_lambda, expected):
    advantages = generalised_advantages(torch.tensor([[0.0, 0, 2]]), torch.tensor([[0.5, 1, 1.5]]), 1.0, gae_lambda)
    torch.testing.assert_close(advantages, torch.tensor(expected))


def test_whitened_tokens_have_mean_zero_and_variance_one():
    x, mask = torch.randn(4, 9) * 3 + 2, torch.arange(9) < torch.tensor([[9], [1], [0], [5]])
    variance, mean = torch.var_mean(whiten(x, mask)[mask])
    assert float(mean) == pytest.approx(0, abs=1e-6) and float(variance) == pytest.approx(1, abs=1e-5)
    assert not whiten(x, mask & (torch.arange(4)[:, None] == 1)).any(), "a single token has no deviation"
    assert whiten(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)).abs().max() == 0


def test_explained_variance():
    returns = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert explained_variance(returns, returns + 7) == 1, "an offset is no variance"
    assert explained_variance(returns, torch.zeros(4)) == 0
    assert explained_variance(returns, -returns) == pytest.approx(-3)
    assert math.isnan(explained_variance(torch.ones(4), returns))
