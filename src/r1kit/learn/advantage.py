"""Advantages of completions relative to their group.

Shapes: P prompts, G group size.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Added to the standard deviation. The paper gives none; small enough that any real variance is normalised.
STD_EPSILON = 1e-6


def group_advantages(rewards_PG: Tensor, scale_by_std: bool = True) -> Tensor:
    """A_i = (r_i - mean(r)) / std(r) over each group (DeepSeekMath, section 4.1.2; R1, eq. 3).

    std is the sample standard deviation (ddof 1; the paper does not say). A group whose rewards are all equal has
    advantage exactly 0, a group of one too. `scale_by_std=False` leaves the difference as it is (Dr. GRPO).
    """
    centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    varies_P1 = has_variance(rewards_PG)[:, None]
    if scale_by_std and rewards_PG.shape[1] > 1:
        centred_PG = centred_PG / (rewards_PG.std(dim=1, keepdim=True) + STD_EPSILON)
    return torch.where(varies_P1, centred_PG, 0.0)


def has_variance(rewards_PG: Tensor) -> Tensor:
    """True for groups that can teach: not all rewards are equal."""
    return (rewards_PG != rewards_PG[:, :1]).any(dim=1)


def overlong_penalty(lengths: Tensor, max_length: int, buffer: int) -> Tensor:
    """DAPO's soft punishment (eq. 13): 0 up to max_length - buffer, then linearly down to -1 at max_length."""
    over = lengths - (max_length - buffer)
    return -(over / buffer).clamp(0, 1)
