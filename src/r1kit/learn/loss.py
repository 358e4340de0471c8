"""The GRPO family. Each objective is a pure function of tensors.

Shapes: B sequences, T completion tokens. Every function returns a sum over its sequences divided by what the whole
step holds (`Norm`), so micro-batches and data-parallel ranks simply add up: splitting never changes the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Terms:
    """What an objective reads about some sequences of a step."""

    logp_BT: Tensor  # under the policy being trained, with gradient
    old_logp_BT: Tensor  # under the policy that sampled
    ref_logp_BT: Tensor | None  # under the reference policy; None when beta is 0
    advantages_B: Tensor
    mask_BT: Tensor  # True on tokens that count


@dataclass(frozen=True, slots=True)
class Clip:
    """Probability ratios are kept in [1 - low, 1 + high]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Norm:
    """Totals over the whole step, all micro-batches and processes."""

    sequences: int
    tokens: int
    max_tokens: int  # the length cap, Dr. GRPO's constant


def grpo(terms: Terms, clip: Clip, beta: float, norm: Norm) -> Tensor:
    """Token-level ratios, mean over each sequence, then over sequences (DeepSeekMath eq. 3-4).

    The default: the R1 paper speaks of clipping "gradients for a large number of tokens", so its ratios are per token.
    """
    return sequence_mean(_clipped_with_kl(terms, clip, beta), terms.mask_BT, norm)


def grpo_sequence(terms: Terms, clip: Clip, beta: float, norm: Norm) -> Tensor:
    """One ratio and one KL term per sequence, exactly as the R1 paper prints it (eq. 1-2).

    The ratio of whole-sequence probabilities leaves any useful range after a few hundred tokens.
    """
    loss_B = -_sequence_surrogate(sequence_ratio(terms), terms, clip)
    if terms.ref_logp_BT is not None:
        ref_B, logp_B = (terms.ref_logp_BT * terms.mask_BT).sum(1), (terms.logp_BT * terms.mask_BT).sum(1)
        loss_B = loss_B + beta * k3(logp_B, ref_B)
    return loss_B.sum() / norm.sequences


def dr_grpo(terms: Terms, clip: Clip, beta: float, norm: Norm) -> Tensor:
    """Sum over tokens over a constant length (Liu et al. 2025): long wrong answers are not favoured.

    Its advantages are not divided by the group's standard deviation: see `UNSCALED`.
    """
    loss_BT = _clipped_with_kl(terms, clip, beta)
    return (loss_BT * terms.mask_BT).sum() / (norm.sequences * norm.max_tokens)


def dapo(terms: Terms, clip: Clip, beta: float, norm: Norm) -> Tensor:
    """Every token weighs the same (Yu et al. 2025, eq. 8); clip-higher is `clip.high > clip.low`."""
    return token_mean(_clipped_with_kl(terms, clip, beta), terms.mask_BT, norm)


def gspo(terms: Terms, clip: Clip, beta: float, norm: Norm) -> Tensor:
    """The ratio of a sequence is the geometric mean of its tokens' ratios (Zheng et al. 2025, eq. 5 and 7)."""
    loss_B = -_sequence_surrogate(mean_ratio(terms), terms, clip)
    return loss_B.sum() / norm.sequences + sequence_mean(_kl(terms, beta), terms.mask_BT, norm)


def cispo(terms: Terms, clip: Clip, beta: float, norm: Norm) -> Tensor:
    """Clip the importance weight, not the update (MiniMax-M1, eq. 4-5): every token keeps its gradient."""
    weight_BT = token_ratio(terms).detach().clamp(1 - clip.low, 1 + clip.high)
    loss_BT = -weight_BT * terms.advantages_B[:, None] * terms.logp_BT
    return token_mean(loss_BT + _kl(terms, beta), terms.mask_BT, norm)


Objective = Callable[[Terms, Clip, float, Norm], Tensor]
OBJECTIVES: dict[str, Objective] = {
    function.__name__: function for function in (grpo, grpo_sequence, dr_grpo, dapo, gspo, cispo)
}
UNSCALED = frozenset({"dr_grpo"})  # objectives whose advantages keep the rewards' scale


def token_ratio(terms: Terms) -> Tensor:
    """pi(token) / pi_old(token) [B, T]"""
    return (terms.logp_BT - terms.old_logp_BT).exp()


def sequence_ratio(terms: Terms) -> Tensor:
    """pi(sequence) / pi_old(sequence) [B, 1]"""
    return ((terms.logp_BT - terms.old_logp_BT) * terms.mask_BT).sum(1, keepdim=True).exp()


def mean_ratio(terms: Terms) -> Tensor:
    """The geometric mean of a sequence's token ratios [B, 1]"""
    lengths_B1 = terms.mask_BT.sum(1, keepdim=True).clamp(min=1)
    return (((terms.logp_BT - terms.old_logp_BT) * terms.mask_BT).sum(1, keepdim=True) / lengths_B1).exp()


# The ratio that an objective clips; token_ratio for all others.
SEQUENCE_RATIOS = {"grpo_sequence": sequence_ratio, "gspo": mean_ratio}


def surrogate(ratio: Tensor, advantage: Tensor, clip: Clip) -> Tensor:
    """min(ratio * A, clip(ratio) * A) (Schulman et al. 2017; R1, eq. 1)."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip.low, 1 + clip.high) * advantage)


def k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """KL(policy || reference) estimated as pi_ref/pi - log(pi_ref/pi) - 1: unbiased, never negative (R1, eq. 2)."""
    difference = ref_logp - logp
    return difference.exp() - difference - 1


def sequence_mean(x_BT: Tensor, mask_BT: Tensor, norm: Norm) -> Tensor:
    """Mean over each sequence's tokens, then over the step's sequences."""
    return ((x_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)).sum() / norm.sequences


def token_mean(x_BT: Tensor, mask_BT: Tensor, norm: Norm) -> Tensor:
    """Mean over all of the step's tokens."""
    return (x_BT * mask_BT).sum() / norm.tokens


def is_clipped(ratio: Tensor, advantage: Tensor, clip: Clip) -> Tensor:
    """True where the clip is active: the ratio is outside, on the side the advantage pushes to."""
    return ((ratio > 1 + clip.high) & (advantage > 0)) | ((ratio < 1 - clip.low) & (advantage < 0))


def _clipped_with_kl(terms: Terms, clip: Clip, beta: float) -> Tensor:
    return -surrogate(token_ratio(terms), terms.advantages_B[:, None], clip) + _kl(terms, beta)


def _sequence_surrogate(ratio_B1: Tensor, terms: Terms, clip: Clip) -> Tensor:
    """[B]; 0 for a sequence without tokens that count."""
    return (surrogate(ratio_B1, terms.advantages_B[:, None], clip) * terms.mask_BT.any(1, keepdim=True)).squeeze(1)


def _kl(terms: Terms, beta: float) -> Tensor:
    """The KL penalty per token, in the loss and not in the reward (R1 supplement A.3)."""
    if terms.ref_logp_BT is None:
        return torch.zeros_like(terms.logp_BT)
    return beta * k3(terms.logp_BT, terms.ref_logp_BT)
