"""Sampling of tokens with counter-based random numbers, one per token.

Shapes: N distributions, R samples from them, V vocabulary, C blocks of it, B tokens of a block.
"""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor

from r1kit.engine.base import SamplingParams
from r1kit.model.attention import round_up

BLOCK = 128  # tokens per block of the cumulative sum
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


def sample(
    logits_NV: Tensor, keys_R: Tensor, positions_R: Tensor, params: SamplingParams, row_R: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return (tokens_R, logp_R), sampled by inverting the cumulative distribution at one uniform number each.

    `row_R` is the distribution of each sample; None: sample r has distribution r. logp is under
    softmax(logits / temperature) before truncation, or under softmax(logits) when greedy.
    """
    row_R = torch.arange(len(logits_NV), device=logits_NV.device) if row_R is None else row_R
    vocabulary = logits_NV.shape[1]
    max_N1 = logits_NV.amax(-1, keepdim=True).float()
    scale = params.temperature or 1
    weights_NV = logits_NV.new_empty(len(logits_NV), round_up(vocabulary, BLOCK), dtype=torch.float32)
    weights_NV[:, :vocabulary], weights_NV[:, vocabulary:] = logits_NV, -torch.inf
    weights_NV.sub_(max_N1)
    if scale != 1:
        weights_NV /= scale
    log_total_N1 = weights_NV.exp_().sum(-1, keepdim=True).log_()
    if params.temperature:
        shares_R = uniform(keys_R, positions_R).float()
        tokens_R = _invert(truncate(weights_NV, params.top_p, params.top_k), row_R, shares_R)
        tokens_R.clamp_(max=vocabulary - 1)  # searchsorted puts NaN behind every number
    else:
        tokens_R = logits_NV.argmax(-1)[row_R]
    logits_R, max_R, log_total_R = logits_NV[row_R, tokens_R], max_N1[row_R, 0], log_total_N1[row_R, 0]
    return tokens_R, (logits_R.float() - max_R) / scale - log_total_R


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


def truncate(weights_NV: Tensor, top_p: float, top_k: int) -> Tensor:
    """Zero all weights outside the top_k largest, and of those outside the smallest set with top_p of their sum.

    Weights are unnormalised probabilities.
    """
    if top_p >= 1 and top_k <= 0:
        return weights_NV
    ordered, index = weights_NV.sort(dim=-1, descending=True, stable=True)
    if top_k > 0:
        ordered[:, top_k:] = 0
    before = ordered.cumsum(-1) - ordered
    keep = before < top_p * ordered.sum(-1, keepdim=True)
    return torch.zeros_like(weights_NV).scatter(-1, index, ordered * keep)
