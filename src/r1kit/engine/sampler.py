"""Sampling of tokens with counter-based random numbers, one per token.

Shapes: N distributions, R samples from them, V vocabulary, C blocks of it, B tokens of a block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from r1kit.engine.base import SamplingParams
from r1kit.model.attention import round_up

BLOCK = 128  # tokens per block of the cumulative sum
MIN_TEMPERATURE = 1e-3  # lower ones of rows are greedy: their log-probabilities would become infinite
# Constants of splitmix64 (Steele, Lea, Flood 2014) as signed 64-bit integers.
_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_MIX1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX2 = 0x94D049BB133111EB - 2**64


def row_key(seed: int, prompt_id: str, sample: int) -> int:
    """Return the 63-bit key of one completion's random numbers."""
    digest = hashlib.blake2b(f"{seed}:{prompt_id}:{sample}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def uniform(keys_R: Tensor, positions_R: Tensor) -> Tensor:
    """Return a float64 in [0, 1) for every (key, position): splitmix64 of key + position * gamma."""
    x = keys_R + (positions_R + 1) * _GAMMA
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    x = x ^ _shift(x, 31)
    return _shift(x, 11).double() * 2.0**-53


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift int64 right logically."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


@dataclass(frozen=True, slots=True)
class RowSampling:
    """Sampling parameters of every distribution, where they differ."""

    temperature_N1: Tensor  # 1 where greedy
    is_greedy_N: Tensor
    any_greedy: bool
    top_p_N1: Tensor
    top_k_N1: Tensor
    truncated: Tensor | None  # indices of the distributions with top-p or top-k

    @classmethod
    def of(cls, params: Sequence[SamplingParams], device: torch.device) -> RowSampling:
        """Return the parameters as tensors, one distribution for each element."""
        values_3N = torch.tensor([[p.temperature, p.top_p, p.top_k] for p in params], dtype=torch.float64).T.to(device)
        temperature_N1, top_p_N1 = (x[:, None].float() for x in values_3N[:2])
        is_greedy_N = temperature_N1[:, 0] < MIN_TEMPERATURE
        truncated = [n for n, p in enumerate(params) if p.temperature and (p.top_p < 1 or p.top_k > 0)]
        if len(truncated) == 1:  # torch sums a single row in another order
            truncated *= 2
        return cls(
            temperature_N1.where(~is_greedy_N[:, None], 1),
            is_greedy_N,
            bool(is_greedy_N.any()),
            top_p_N1,
            values_3N[2, :, None].long(),
            torch.tensor(truncated, device=device) if truncated else None,
        )

    def truncate(self, weights_NV: Tensor) -> Tensor:
        """Truncate every distribution by its own top-p and top-k."""
        if (rows := self.truncated) is not None:
            weights_NV[rows] = truncate(weights_NV[rows], self.top_p_N1[rows], self.top_k_N1[rows])
        return weights_NV


@dataclass(frozen=True, slots=True)
class Allowed:
    """The tokens that may be sampled from some of the distributions; from the others, all may."""

    rows_C: Tensor
    allowed_CV: Tensor


def sample(
    logits_NV: Tensor,
    keys_R: Tensor,
    positions_R: Tensor,
    params: SamplingParams | RowSampling,
    row_R: Tensor | None = None,
    allowed: Allowed | None = None,
) -> tuple[Tensor, Tensor]:
    """Return (tokens_R, logp_R), sampled by inverting the cumulative distribution at one uniform number each.

    `row_R` is the distribution of each sample; None: sample r has distribution r. logp is under
    softmax(logits / temperature) before `allowed` and truncation, or under softmax(logits) when greedy.
    """
    row_R = torch.arange(len(logits_NV), device=logits_NV.device) if row_R is None else row_R
    scale = params.temperature_N1 if isinstance(params, RowSampling) else params.temperature or 1
    weights_NV, max_N1 = _weights(logits_NV, scale)
    log_total_N1 = weights_NV.sum(-1, keepdim=True).log_()
    choices_NV = logits_NV
    if allowed is not None:
        allowed_logits_CV = logits_NV[allowed.rows_C].masked_fill(~allowed.allowed_CV, -torch.inf)
        choices_NV = logits_NV.index_copy(0, allowed.rows_C, allowed_logits_CV)
        scale_C = scale[allowed.rows_C] if isinstance(scale, Tensor) else scale
        weights_NV[allowed.rows_C] = _weights(allowed_logits_CV, scale_C)[0]
    tokens_R = _choose(choices_NV, weights_NV, keys_R, positions_R, params, row_R)
    logits_R, max_R, log_total_R = logits_NV[row_R, tokens_R], max_N1[row_R, 0], log_total_N1[row_R, 0]
    scale_R = scale[row_R, 0] if isinstance(scale, Tensor) else scale
    return tokens_R, (logits_R.float() - max_R) / scale_R - log_total_R


def top_logprobs(logits_NV: Tensor, temperature_N1: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return (log-probabilities, tokens), each [N, count], of the likeliest tokens under the same distribution."""
    weights_NV, max_N1 = _weights(logits_NV, temperature_N1)
    logits_NX, tokens_NX = logits_NV.topk(min(count, logits_NV.shape[1]), dim=-1)
    return (logits_NX.float() - max_N1) / temperature_N1 - weights_NV.sum(-1, keepdim=True).log_(), tokens_NX


def _weights(logits_NV: Tensor, scale: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return unnormalised probabilities, padded to a multiple of BLOCK, and the largest logits [N, 1]."""
    vocabulary = logits_NV.shape[1]
    max_N1 = logits_NV.amax(-1, keepdim=True).float()
    weights_NV = logits_NV.new_empty(len(logits_NV), round_up(vocabulary, BLOCK), dtype=torch.float32)
    weights_NV[:, :vocabulary], weights_NV[:, vocabulary:] = logits_NV, -torch.inf
    weights_NV.sub_(max_N1)
    if isinstance(scale, Tensor) or scale != 1:
        weights_NV /= scale
    return weights_NV.exp_(), max_N1


def _choose(
    logits_NV: Tensor,
    weights_NV: Tensor,
    keys_R: Tensor,
    positions_R: Tensor,
    params: SamplingParams | RowSampling,
    row_R: Tensor,
) -> Tensor:
    """Return a token for each sample: the likeliest when greedy, else one drawn by its weight."""
    if isinstance(params, SamplingParams) and not params.temperature:
        return logits_NV.argmax(-1)[row_R]
    shares_R = uniform(keys_R, positions_R).float()
    if isinstance(params, SamplingParams):
        kept_NV = truncate(weights_NV, params.top_p, params.top_k)
    else:
        kept_NV = params.truncate(weights_NV)
    tokens_R = _invert(kept_NV, row_R, shares_R)
    tokens_R.clamp_(max=logits_NV.shape[1] - 1)  # searchsorted puts NaN behind every number
    if isinstance(params, RowSampling) and params.any_greedy:
        tokens_R = logits_NV.argmax(-1)[row_R].where(params.is_greedy_N[row_R], tokens_R)
    return tokens_R


def _invert(weights_NV: Tensor, row_R: Tensor, shares_R: Tensor) -> Tensor:
    """Return the index [R] where a row's cumulative weight passes that share of its total.

    The block is located first, then the place in it: sums over blocks run in parallel, a running sum over the full
    vocabulary would be sequential.
    """
    blocks_NCB = torch.unflatten(weights_NV, -1, (-1, BLOCK))
    cumulative_RC = blocks_NCB.sum(-1).cumsum_(-1)[row_R]
    target_R1 = shares_R[:, None] * cumulative_RC[:, -1:]
    block_R1 = _first_above(cumulative_RC, target_R1)
    before_R1 = F.pad(cumulative_RC, (1, 0)).gather(-1, block_R1)
    cumulative_RB = blocks_NCB[row_R, block_R1.squeeze(1)].cumsum_(-1)
    return (block_R1 * BLOCK + _first_above(cumulative_RB, target_R1 - before_R1)).squeeze(1)


def _first_above(cumulative_RX: Tensor, target_R1: Tensor) -> Tensor:
    """Return the first index [R, 1] whose cumulative weight exceeds the target.

    The target is kept below the total despite rounding, so the index has a positive weight.
    """
    total_R1 = cumulative_RX[:, -1:]
    target_R1 = target_R1.minimum(total_R1.nextafter(torch.zeros_like(total_R1)))
    return torch.searchsorted(cumulative_RX, target_R1, right=True).clamp_(max=cumulative_RX.shape[1] - 1)


def truncate(weights_NV: Tensor, top_p: float | Tensor, top_k: int | Tensor) -> Tensor:
    """Zero all weights outside the top_k largest, and of those outside the smallest set with top_p of their sum.

    Weights are unnormalised probabilities. top_p and top_k are numbers, or [N, 1].
    """
    if isinstance(top_p, float | int) and isinstance(top_k, int) and top_p >= 1 and top_k <= 0:
        return weights_NV
    ordered, index = weights_NV.sort(dim=-1, descending=True, stable=True)
    if isinstance(top_k, Tensor):
        places = torch.arange(ordered.shape[1], device=ordered.device)
        ordered.masked_fill_((places >= top_k) & (top_k > 0), 0)
    elif top_k > 0:
        ordered[:, top_k:] = 0
    before = ordered.cumsum(-1) - ordered
    keep = before < top_p * ordered.sum(-1, keepdim=True)
    keep[:, 0] = True  # also where top_p vanishes in float32
    return torch.zeros_like(weights_NV).scatter(-1, index, ordered * keep)
