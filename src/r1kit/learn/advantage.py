"""Advantages of completions relative to their group.

Shapes: P prompts, G group size.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Added to the standard deviation. The paper gives none; small enough that any real variance is normalised.
STD_EPSILON = 1e-6


def group_advantages(rewards_PG: Tensor, scale_by_std: bool = True, graded_PG: Tensor | None = None) -> Tensor:
    """A_i = (r_i - mean(r)) / std(r) over each group (DeepSeekMath, section 4.1.2; R1, eq. 3).

    std is the sample standard deviation (ddof 1; the paper does not say). A group whose rewards are all equal has
    advantage exactly 0, a group of one too. `scale_by_std=False` leaves the difference as it is (Dr. GRPO).
    What `graded_PG` is False for has advantage 0 and no part in its group's mean and deviation.
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
    """True for groups that can teach: not all rewards (of what is graded) are equal."""
    graded_PG = _all_if_none(graded_PG, rewards_PG)
    highest_P = rewards_PG.where(graded_PG, -torch.inf).amax(dim=1)
    return highest_P > rewards_PG.where(graded_PG, torch.inf).amin(dim=1)


def _all_if_none(graded_PG: Tensor | None, rewards_PG: Tensor) -> Tensor:
    return torch.ones_like(rewards_PG, dtype=torch.bool) if graded_PG is None else graded_PG


def overlong_penalty(lengths: Tensor, max_length: int, buffer: int) -> Tensor:
    """DAPO's soft punishment (eq. 13): 0 up to max_length - buffer, then linearly down to -1 at max_length."""
    over = lengths - (max_length - buffer)
    return -(over / buffer).clamp(0, 1)
