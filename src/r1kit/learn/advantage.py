"""Advantages of completions within their group.

Shapes: P prompts, G group size.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Added to the standard deviation. The paper names no value; this one is too small to affect real variance.
STD_EPSILON = 1e-6


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
