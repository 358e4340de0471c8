"""GRPO, its relatives and PPO. To add one, write a function here, enter it in `OBJECTIVES`, and name it in config.py.

Every loss is a pure function of tensors. It returns a sum over its sequences divided by totals of the step
(`Norm`), so the losses of micro-batches add up: how a step is split never changes its gradient.

Shapes: B sequences, T completion tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from r1kit.config import RL
from r1kit.learn.kl import KLPenalty


@dataclass(frozen=True, slots=True)
class Terms:
    """What an objective reads about some sequences of a step."""

    logp_BT: Tensor  # under the policy being trained, with gradient
    old_logp_BT: Tensor  # under the policy that sampled
    ref_logp_BT: Tensor | None  # under the reference model; None when beta is 0
    advantages_BT: Tensor  # of each token; [B, 1] where all tokens of a sequence have the same
    mask_BT: Tensor  # True on tokens that count


@dataclass(frozen=True, slots=True)
class Clip:
    """Probability ratios are clipped to [1 - low, 1 + high]; the other bounds are off by default."""

    low: float
    high: float
    dual: float | None = None  # largest ratio with a gradient where the advantage is negative
    cap: float | None = None  # largest importance weight

    @classmethod
    def from_config(cls, config: RL) -> Clip:
        """Return the bounds of an RL stage."""
        return cls(config.epsilon, config.epsilon_high or config.epsilon, config.dual_clip, config.importance_cap)


@dataclass(frozen=True, slots=True)
class Norm:
    """Totals of the step, over all micro-batches and processes."""

    sequences: int
    tokens: int
    max_tokens: int  # the completion cap, Dr. GRPO's constant


# -- ratios -------------------------------------------------------------------------------------------------------


def token_ratio(terms: Terms, cap: float | None = None) -> Tensor:
    """Return pi(token) / pi_old(token) [B, T]."""
    return _weight(terms.logp_BT - terms.old_logp_BT, cap)


def sequence_ratio(terms: Terms, cap: float | None = None) -> Tensor:
    """Return pi(sequence) / pi_old(sequence) [B, 1]."""
    return _weight(((terms.logp_BT - terms.old_logp_BT) * terms.mask_BT).sum(1, keepdim=True), cap)


def mean_ratio(terms: Terms, cap: float | None = None) -> Tensor:
    """Return the geometric mean of each sequence's token ratios [B, 1]."""
    lengths_B1 = terms.mask_BT.sum(1, keepdim=True).clamp(min=1)
    return _weight(((terms.logp_BT - terms.old_logp_BT) * terms.mask_BT).sum(1, keepdim=True) / lengths_B1, cap)


def _weight(log_ratio: Tensor, cap: float | None) -> Tensor:
    """Return w = min(ratio, cap), whose gradient is w * grad log pi: truncated importance sampling.

    Ionides 2008 truncates the weights. Yao et al. 2025 ("Your efficient RL framework secretly brings you off-policy RL
    training") do it to the learner's probability over the sampler's; both are in this ratio, as `old_logp_BT` is the
    sampler's.
    """
    if cap is None:
        return log_ratio.exp()
    return (log_ratio + (log_ratio.clamp(max=math.log(cap)) - log_ratio).detach()).exp()


def surrogate(ratio: Tensor, advantage: Tensor, clip: Clip) -> Tensor:
    """Return min(ratio * A, clip(ratio) * A) (Schulman et al. 2017; R1, eq. 1).

    With `clip.dual` = c and A < 0: max(that, c * A) (dual-clip PPO, Ye et al. 2020, arXiv 1912.09729; c is usually 3).
    Without, a ratio that grows has no bound on this side.
    """
    value = torch.minimum(ratio * advantage, ratio.clamp(1 - clip.low, 1 + clip.high) * advantage)
    if clip.dual is None:
        return value
    return torch.where(advantage < 0, torch.maximum(value, clip.dual * advantage), value)


def is_clipped(ratio: Tensor, advantage: Tensor, clip: Clip) -> Tensor:
    """Return True where clipping is active: the ratio is outside, on the side the advantage pushes to."""
    return ((ratio > 1 + clip.high) & (advantage > 0)) | ((ratio < 1 - clip.low) & (advantage < 0))


def is_outside(ratio: Tensor, advantage: Tensor, clip: Clip) -> Tensor:
    """Return True where the ratio is outside, whatever the advantage."""
    return (ratio > 1 + clip.high) | (ratio < 1 - clip.low)


# -- objectives ---------------------------------------------------------------------------------------------------


def grpo(terms: Terms, clip: Clip, kl: KLPenalty, norm: Norm) -> Tensor:
    """Token-level ratios, mean over each sequence, then over sequences (DeepSeekMath eq. 3-4).

    The default: the R1 paper writes of clipping "gradients for a large number of tokens", so its ratios are per token.
    """
    return sequence_mean(_clipped_with_kl(terms, clip, kl), terms.mask_BT, norm)


def grpo_sequence(terms: Terms, clip: Clip, kl: KLPenalty, norm: Norm) -> Tensor:
    """One ratio and one KL term per sequence, exactly as the R1 paper prints it (eq. 1-2).

    The ratio of whole-sequence probabilities leaves any useful range after a few hundred tokens.
    """
    loss_B = -_sequence_surrogate(sequence_ratio(terms, clip.cap), terms, clip)
    if terms.ref_logp_BT is not None:
        ref_B, logp_B = (terms.ref_logp_BT * terms.mask_BT).sum(1), (terms.logp_BT * terms.mask_BT).sum(1)
        loss_B = loss_B + kl(logp_B, ref_B)
    return loss_B.sum() / norm.sequences


def dr_grpo(terms: Terms, clip: Clip, kl: KLPenalty, norm: Norm) -> Tensor:
    """Sum over tokens divided by a constant length (Liu et al. 2025): long wrong answers are not favoured."""
    loss_BT = _clipped_with_kl(terms, clip, kl)
    return (loss_BT * terms.mask_BT).sum() / (norm.sequences * norm.max_tokens)


def dapo(terms: Terms, clip: Clip, kl: KLPenalty, norm: Norm) -> Tensor:
    """Equal weight for every token (Yu et al. 2025, eq. 8); clip-higher is `clip.high > clip.low`."""
    return token_mean(_clipped_with_kl(terms, clip, kl), terms.mask_BT, norm)


def gspo(terms: Terms, clip: Clip, kl: KLPenalty, norm: Norm) -> Tensor:
    """One ratio per sequence, the geometric mean of its tokens' ratios (Zheng et al. 2025, eq. 5 and 7)."""
    loss_B = -_sequence_surrogate(mean_ratio(terms, clip.cap), terms, clip)
    return loss_B.sum() / norm.sequences + sequence_mean(_penalty(terms, kl), terms.mask_BT, norm)


def cispo(terms: Terms, clip: Clip, kl: KLPenalty, norm: Norm) -> Tensor:
    """Clip the importance weight instead of the update, so every token keeps its gradient.

    MiniMax-M1 (arXiv 2506.13585), eq. 4-5: sg(clip(ratio, 1 - low, 1 + high)) * A * log pi. Its experiments have no
    lower bound (low = 1), nor has ScaleRL (arXiv 2510.13786, eq. 4), where caps 1 + high of 4, 5 and 8 learn equally
    well (appendix A.17).
    """
    weight_BT = token_ratio(terms).detach().clamp(1 - clip.low, 1 + clip.high)
    loss_BT = -weight_BT * terms.advantages_BT * terms.logp_BT
    return token_mean(loss_BT + _penalty(terms, kl), terms.mask_BT, norm)


def ppo(terms: Terms, clip: Clip, kl: KLPenalty, norm: Norm) -> Tensor:
    """Token-level ratios and advantages (DeepSeekMath eq. 1). The KL penalty is in the rewards of the tokens."""
    loss_BT = -surrogate(token_ratio(terms, clip.cap), terms.advantages_BT, clip)
    return sequence_mean(loss_BT, terms.mask_BT, norm)


def value_loss(
    values_BT: Tensor, old_BT: Tensor, returns_BT: Tensor, mask_BT: Tensor, epsilon: float, tokens: int
) -> Tensor:
    """Return half the squared error of values, or of clipped ones where it is larger, over the step's `tokens`.

    Values are clipped to `epsilon` around the `old` ones, as in OpenAI's baselines, TRL and verl: a value that has
    moved further towards its return gets no gradient.
    """
    clipped_BT = torch.clamp(values_BT, old_BT - epsilon, old_BT + epsilon)
    errors_BT = torch.maximum((values_BT - returns_BT).square(), (clipped_BT - returns_BT).square())
    return (errors_BT * mask_BT).sum() / (2 * tokens)


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss and what goes with it."""

    loss: Callable[[Terms, Clip, KLPenalty, Norm], Tensor]
    ratio: Callable[[Terms, float | None], Tensor] = token_ratio
    """The ratio that the loss clips, given the cap; used for the metric clip_ratio."""
    is_clipped: Callable[[Tensor, Tensor, Clip], Tensor] = is_clipped
    """Where the loss clips it."""
    scale_by_std: bool = True
    """Whether advantages are divided by the standard deviation of their group."""


OBJECTIVES: Mapping[str, Objective] = {
    "grpo": Objective(grpo),
    "grpo_sequence": Objective(grpo_sequence, ratio=sequence_ratio),
    "dr_grpo": Objective(dr_grpo, scale_by_std=False),
    "dapo": Objective(dapo),
    "gspo": Objective(gspo, ratio=mean_ratio),
    "cispo": Objective(cispo, is_clipped=is_outside),
    "ppo": Objective(ppo),
}


def clip_counts(objective: Objective, terms: Terms, clip: Clip) -> dict[str, float]:
    """Return how many tokens are clipped, clipped by `clip.dual`, and truncated by `clip.cap`."""
    ratio, advantages_BT = objective.ratio(terms, clip.cap), terms.advantages_BT
    counts = {"clip_ratio": objective.is_clipped(ratio, advantages_BT, clip)}
    if clip.dual is not None:
        counts["dual_clip_ratio"] = (ratio > clip.dual) & (advantages_BT < 0)
    if clip.cap is not None:
        counts["importance_capped"] = objective.ratio(terms, None) > clip.cap
    return {name: float((chosen & terms.mask_BT).sum()) for name, chosen in counts.items()}


# -- sums ---------------------------------------------------------------------------------------------------------


def sequence_mean(x_BT: Tensor, mask_BT: Tensor, norm: Norm) -> Tensor:
    """Average over each sequence's tokens, then over the step's sequences."""
    return ((x_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)).sum() / norm.sequences


def token_mean(x_BT: Tensor, mask_BT: Tensor, norm: Norm) -> Tensor:
    """Average over all of the step's tokens."""
    return (x_BT * mask_BT).sum() / norm.tokens


def _clipped_with_kl(terms: Terms, clip: Clip, kl: KLPenalty) -> Tensor:
    return -surrogate(token_ratio(terms, clip.cap), terms.advantages_BT, clip) + _penalty(terms, kl)


def _sequence_surrogate(ratio_B1: Tensor, terms: Terms, clip: Clip) -> Tensor:
    """Return the surrogate [B]; 0 for a sequence without tokens that count."""
    return (surrogate(ratio_B1, terms.advantages_BT, clip) * terms.mask_BT.any(1, keepdim=True)).squeeze(1)


def _penalty(terms: Terms, kl: KLPenalty) -> Tensor:
    """Return the KL penalty per token [B, T]."""
    if terms.ref_logp_BT is None:
        return torch.zeros_like(terms.logp_BT)
    return kl(terms.logp_BT, terms.ref_logp_BT)
