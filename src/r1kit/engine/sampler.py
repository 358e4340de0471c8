"""Drawing tokens, one counter-based random number each.

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from r1kit.engine.base import SamplingParams

# splitmix64 (Steele, Lea, Flood 2014), its constants as signed 64-bit integers
_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_MIX1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX2 = 0x94D049BB133111EB - 2**64


def row_key(seed: int, prompt_id: str, sample: int) -> int:
    """The 63-bit key that all randomness of one completion grows from."""
    digest = hashlib.blake2b(f"{seed}:{prompt_id}:{sample}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def uniform(keys_N: Tensor, positions_N: Tensor) -> Tensor:
    """A float64 in [0, 1) for every (key, position): splitmix64 of key + position * gamma."""
    x = keys_N + (positions_N + 1) * _GAMMA
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    x = x ^ _shift(x, 31)
    return _shift(x, 11).double() * 2.0**-53


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def sample(logits_NV: Tensor, keys_N: Tensor, positions_N: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """(tokens_N, logp_N): drawn by inverting the cumulative distribution at one uniform number per row.

    logp is of softmax(logits / temperature) before truncation; of softmax(logits) when greedy.
    """
    likeliest_N, argmax_N = logits_NV.max(-1)
    below_NV = logits_NV.float() - likeliest_N[:, None].float()
    if params.temperature not in (0, 1):
        below_NV /= params.temperature
    weights_NV = below_NV.exp()
    log_total_N = weights_NV.sum(-1).log_()
    tokens_N = argmax_N
    if params.temperature:
        cumulative = truncate(weights_NV, params.top_p, params.top_k).cumsum(-1)
        total_N = cumulative[:, -1]
        threshold_N = uniform(keys_N, positions_N).float() * total_N
        # Rounding must not push it up to the total: below, what is found always has some probability.
        threshold_N = threshold_N.minimum(total_N.nextafter(torch.zeros_like(total_N)))
        found_N = torch.searchsorted(cumulative, threshold_N[:, None], right=True).squeeze(-1)
        tokens_N = found_N.clamp(max=logits_NV.shape[-1] - 1)  # NaN is larger than any number
    return tokens_N, below_NV.gather(-1, tokens_N[:, None]).squeeze(-1) - log_total_N


def truncate(weights_NV: Tensor, top_p: float, top_k: int) -> Tensor:
    """Zero all but the nucleus: the top_k likeliest, and of those the fewest that hold top_p of their mass.

    Weights are probabilities times anything.
    """
    if top_p >= 1 and top_k <= 0:
        return weights_NV
    ordered, index = weights_NV.sort(dim=-1, descending=True, stable=True)
    if top_k > 0:
        ordered[:, top_k:] = 0
    before = ordered.cumsum(-1) - ordered
    keep = before < top_p * ordered.sum(-1, keepdim=True)
    return torch.zeros_like(weights_NV).scatter(-1, index, ordered * keep)
