"""The kernel that samples tokens and their log-probabilities as `engine.sampler` does, without top-p and top-k.

Shapes: N distributions, R samples, V vocabulary, C blocks of it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from r1kit.engine.sampler import uniform
from r1kit.model.fused.compiler import array, kernel, parallel
from r1kit.model.fused.rows import ZERO, Array, exp, largest, share

BLOCK = 128  # tokens
BELOW_ONE = np.float32(1 - 2**-24)


@kernel
def _weigh_rows(
    logits_NV: Array, temperature: Array, largest_N: Array, total_NC: Array, thread: int, threads: int
) -> None:
    for n in share(len(logits_NV), thread, threads):
        logits_V, total = logits_NV[n], ZERO
        most = largest(logits_V)
        largest_N[n] = most
        for c in range(total_NC.shape[1]):
            block, weight = logits_V[c * BLOCK : (c + 1) * BLOCK], ZERO
            for i in range(len(block)):
                weight += exp((block[i] - most) / temperature)
            total += weight
            total_NC[n, c] = total


@kernel
def _choose(logits_V: Array, temperature: Array, most: Array, total_C: Array, fraction: Array) -> int:
    """Return the first token behind which the cumulative weight exceeds that share of the total."""
    target, c = min(fraction, BELOW_ONE) * total_C[-1], 0  # less than the total, so the token has a positive weight
    while c < len(total_C) - 1 and total_C[c] <= target:
        c += 1
    total = total_C[c - 1] if c else ZERO
    chosen = c * BLOCK
    for token in range(c * BLOCK, min((c + 1) * BLOCK, len(logits_V))):
        weight = exp((logits_V[token] - most) / temperature)
        total += weight
        chosen = token if weight > ZERO else chosen  # rounding may leave the target behind the last token
        if total > target:
            break
    return chosen


@kernel
def _sample_rows(
    logits_NV: Array, temperature: Array, largest_N: Array, total_NC: Array, row_R: Array, share_R: Array,
    token_R: Array, logp_R: Array, thread: int, threads: int,
) -> None:  # fmt: skip
    for r in share(len(row_R), thread, threads):
        n = row_R[r]
        total_C = total_NC[n]
        token = _choose(logits_NV[n], temperature, largest_N[n], total_C, share_R[r])
        token_R[r] = token
        logp_R[r] = (logits_NV[n, token] - largest_N[n]) / temperature - np.log(total_C[-1])


@kernel
def _sample(
    logits_NV: Array, temperature: Array, row_R: Array, share_R: Array, token_R: Array, logp_R: Array, threads: int
) -> None:
    largest_N = np.empty(len(logits_NV), np.float32)
    total_NC = np.empty((len(logits_NV), -(-logits_NV.shape[1] // BLOCK)), np.float32)
    parallel(_weigh_rows, (logits_NV, temperature, largest_N, total_NC), threads)
    parallel(
        _sample_rows,
        (logits_NV, temperature, largest_N, total_NC, row_R, share_R, token_R, logp_R),
        threads,
    )


def sample_plain(
    logits_NV: Tensor, temperature: float, row_R: Tensor, keys_R: Tensor, positions_R: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (tokens_R, logp_R) as `engine.sampler.sample` does, up to rounding of the weights."""
    shares_R = uniform(keys_R, positions_R).float()
    token_R, logp_R = torch.empty_like(row_R), torch.empty_like(shares_R)
    operands = (array(x.contiguous()) for x in (row_R, shares_R, token_R, logp_R))
    _sample(array(logits_NV.contiguous()), np.float32(temperature), *operands, torch.get_num_threads())
    return token_R, logp_R
