"""Advantages: of completions within their group, and of tokens by a critic's values (PPO).

Shapes: P prompts, G group size, B sequences, T completion tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Added to the standard deviation. The paper names no value; this one is too small to affect real variance.
STD_EPSILON = 1e-6
WHITENING_EPSILON = 1e-8  # added to the variance; as in TRL and verl


def group_advantages(rewards_PG: Tensor, scale_by_std: bool = True, graded_PG: Tensor | None = None) -> Tensor:
    """Return A_i = (r_i - mean(r)) / std(r) over each group (DeepSeekMath, section 4.1.2; R1, eq. 3).

    std is the sample standard deviation (ddof 1; the paper does not say). Groups with equal rewards, and groups of
    one, have advantage exactly 0. `scale_by_std=False` omits the division (Dr. GRPO). Completions with `graded_PG`
    False have advantage 0 and do not enter the mean and deviation of their group.
    """
    graded_PG = _all_if_none(graded_PG, rewards_PG)
    count_P1 = graded_PG.sum(dim=1, keepdim=True)
    rewards_PG = rewards_PG.where(graded_PG, 0.0)
    mean_P1 = rewards_PG.sum(dim=1, keepdim=True) / count_P1.clamp(min=1)
    centred_PG = (rewards_PG - mean_P1).where(graded_PG, 0.0)
    varies_P1 = has_variance(rewards_PG, graded_PG)[:, None]
    if scale_by_std:
        variance_P1 = centred_PG.square().sum(dim=1, keepdim=True) / (count_P1 - 1).clamp(min=1)
        centred_PG = centred_PG / (variance_P1.sqrt() + STD_EPSILON)
    return torch.where(varies_P1, centred_PG, 0.0)


def has_variance(rewards_PG: Tensor, graded_PG: Tensor | None = None) -> Tensor:
    """Return True [P] for groups whose graded rewards are not all equal."""
    graded_PG = _all_if_none(graded_PG, rewards_PG)
    highest_P = rewards_PG.where(graded_PG, -torch.inf).amax(dim=1)
    return highest_P > rewards_PG.where(graded_PG, torch.inf).amin(dim=1)


def _all_if_none(graded_PG: Tensor | None, rewards_PG: Tensor) -> Tensor:
    return torch.ones_like(rewards_PG, dtype=torch.bool) if graded_PG is None else graded_PG


def overlong_penalty(lengths: Tensor, max_length: int, buffer: int) -> Tensor:
    """Return DAPO's length penalty (eq. 13): 0 up to max_length - buffer, then linear to -1 at max_length."""
    over = lengths - (max_length - buffer)
    return -(over / buffer).clamp(0, 1)


# -- PPO ----------------------------------------------------------------------------------------------------------


def token_rewards(rewards_B: Tensor, mask_BT: Tensor, penalty_BT: Tensor) -> Tensor:
    """Return the reward of each token [B, T]: minus a KL penalty, and on the last one the completion's reward.

    PPO penalises the divergence here and not in the loss (DeepSeekMath eq. 2; R1, supplement A.3). Tokens outside the
    mask, all behind the last one inside, have none.
    """
    rewards_BT = -penalty_BT * mask_BT
    last_B1 = (mask_BT.sum(1, keepdim=True) - 1).clamp(min=0)
    return rewards_BT.scatter_add_(1, last_B1, (rewards_B * mask_BT.any(1))[:, None])


def generalised_advantages(rewards_BT: Tensor, values_BT: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """Return A_t = delta_t + gamma lambda A_{t+1}, with delta_t = r_t + gamma V_{t+1} - V_t (GAE).

    Schulman et al. 2016 (arXiv 1506.02438), eq. 16. Rewards and values are 0 behind the last token: whatever ends a
    completion, EOS or the length limit, nothing is expected after it.
    """
    advantages_BT, following_B = torch.zeros_like(values_BT), torch.zeros_like(values_BT[:, 0])
    next_value_B = following_B
    for t in reversed(range(values_BT.shape[1])):
        delta_B = rewards_BT[:, t] + gamma * next_value_B - values_BT[:, t]
        following_B = delta_B + gamma * gae_lambda * following_B
        advantages_BT[:, t], next_value_B = following_B, values_BT[:, t]
    return advantages_BT


def whiten(x_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Return x with mean 0 and sample variance 1 over the tokens inside the mask; 0 if these are fewer than two."""
    inside_N = x_BT[mask_BT]
    if len(inside_N) < 2:
        return torch.zeros_like(x_BT)
    variance, mean = torch.var_mean(inside_N)
    return (x_BT - mean) * (variance + WHITENING_EPSILON).rsqrt()


def explained_variance(returns_N: Tensor, values_N: Tensor) -> float:
    """Return 1 - Var(returns - values) / Var(returns); NaN if all returns are equal.

    It is 1 for a critic that is right, 0 for one that gives a constant, and negative for one that is worse than that.
    """
    variance = float(returns_N.var())
    return 1 - float((returns_N - values_N).var()) / variance if variance > 0 else math.nan
