"""Drawing tokens, one counter-based random number each.

Shapes: N rows, V vocabulary, C blocks of it, B tokens of a block.
"""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor

from r1kit.engine.base import SamplingParams
from r1kit.model.attention import aligned

BLOCK = 128  # neighbouring tokens whose weights are added up first
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
    vocabulary = logits_NV.shape[1]
    likeliest_N1 = logits_NV.amax(-1, keepdim=True).float()
    scale = params.temperature or 1
    weights_NV = logits_NV.new_empty(len(logits_NV), aligned(vocabulary, BLOCK), dtype=torch.float32)
    weights_NV[:, :vocabulary], weights_NV[:, vocabulary:] = logits_NV, -torch.inf
    weights_NV.sub_(likeliest_N1)
    if scale != 1:
        weights_NV /= scale
    log_total_N1 = weights_NV.exp_().sum(-1, keepdim=True).log_()
    if params.temperature:
        shares_N1 = uniform(keys_N, positions_N)[:, None].float()
        tokens_N1 = _at_share(truncate(weights_NV, params.top_p, params.top_k), shares_N1)
        tokens_N1.clamp_(max=vocabulary - 1)  # NaN is larger than any number
    else:
        tokens_N1 = logits_NV.argmax(-1, keepdim=True)
    logp_N1 = (logits_NV.gather(-1, tokens_N1).float() - likeliest_N1) / scale - log_total_N1
    return tokens_N1.squeeze(-1), logp_N1.squeeze(-1)


def _at_share(weights_NV: Tensor, shares_N1: Tensor) -> Tensor:
    """[N, 1]: where the sum of the weights passes that share of their total: first in which block, then where in it.

    A sum over neighbours is done in parallel, a running sum over the vocabulary one by one.
    """
    blocks_NCB = weights_NV.unflatten(-1, (-1, BLOCK))
    cumulative_NC = blocks_NCB.sum(-1).cumsum_(-1)
    wanted_N1 = shares_N1 * cumulative_NC[:, -1:]
    block_N1 = _passed(cumulative_NC, wanted_N1)
    before_N1 = F.pad(cumulative_NC, (1, 0)).gather(-1, block_N1)
    chosen_NB = blocks_NCB[torch.arange(len(block_N1), device=block_N1.device), block_N1.squeeze(-1)]
    return block_N1 * BLOCK + _passed(chosen_NB.cumsum(-1), wanted_N1 - before_N1)


def _passed(cumulative_NX: Tensor, wanted_N1: Tensor) -> Tensor:
    """[N, 1]: the first place above what is wanted. It has some weight: rounding may not push that to the total."""
    total_N1 = cumulative_NX[:, -1:]
    wanted_N1 = wanted_N1.minimum(total_N1.nextafter(torch.zeros_like(total_N1)))
    return torch.searchsorted(cumulative_NX, wanted_N1, right=True).clamp_(max=cumulative_NX.shape[1] - 1)


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
