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
    temperature = params.temperature or 1.0
    logp_NV = torch.log_softmax(logits_NV.float() / temperature, dim=-1)
    if params.temperature == 0:
        tokens_N = logits_NV.argmax(-1)
    else:
        probabilities = truncate(logp_NV.exp(), params.top_p, params.top_k)
        cumulative = probabilities.cumsum(-1)
        threshold = uniform(keys_N, positions_N).float() * cumulative[:, -1]
        tokens_N = torch.searchsorted(cumulative, threshold[:, None], right=True).squeeze(-1)
        # Rounding can push the threshold past the last token that has any probability.
        last = logits_NV.shape[-1] - 1 - (probabilities > 0).flip(-1).to(torch.uint8).argmax(-1)
        tokens_N = torch.minimum(tokens_N, last)
    return tokens_N, logp_NV.gather(-1, tokens_N[:, None]).squeeze(-1)


def truncate(probabilities_NV: Tensor, top_p: float, top_k: int) -> Tensor:
    """Zero everything but the nucleus: the top_k likeliest, and of those the fewest that hold top_p of their mass."""
    if top_p >= 1 and top_k <= 0:
        return probabilities_NV
    ordered, index = probabilities_NV.sort(dim=-1, descending=True, stable=True)
    if top_k > 0:
        ordered[:, top_k:] = 0
    before = ordered.cumsum(-1) - ordered
    keep = before < top_p * ordered.sum(-1, keepdim=True)
    return torch.zeros_like(probabilities_NV).scatter(-1, index, ordered * keep)
