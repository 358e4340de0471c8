"""Kernels of log-probabilities and their gradient in two passes over logits. Each computes its rows one by one.

Shapes: N positions, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from r1kit.model.fused.compiler import array, from_float32, kernel, parallel
from r1kit.model.fused.rows import ONE, ZERO, Array, exp, largest, share
from r1kit.model.fused.support import DTYPES


@kernel
def _logprob_rows(
    logits_NV: Array, target_N: Array, scale: Array, logp_N: Array, entropy_N: Array, shift_N: Array,
    thread: int, threads: int,
) -> None:  # fmt: skip
    for n in share(len(logits_NV), thread, threads):
        logits_V, total, mean = logits_NV[n], ZERO, ZERO
        most = largest(logits_V)
        for i in range(len(logits_V)):
            below = (logits_V[i] - most) * scale
            weight = exp(below)
            total += weight
            mean += weight * below
        log_total = np.log(total)
        logp_N[n] = (logits_V[target_N[n]] - most) * scale - log_total
        entropy_N[n] = log_total - mean / total
        shift_N[n] = most * scale + log_total


@kernel
def _logprobs(
    logits_NV: Array, target_N: Array, scale: Array, logp_N: Array, entropy_N: Array, shift_N: Array, threads: int
) -> None:
    parallel(_logprob_rows, (logits_NV, target_N, scale, logp_N, entropy_N, shift_N), threads)


@kernel
def _probability(logit: Array, scale: Array, shift: Array) -> Array:
    logp = logit * scale - shift
    return exp(ZERO if logp > ZERO else logp)  # NaN stays NaN


@kernel
def _gradient_rows(
    logits_NV: Array, target_N: Array, scale: Array, shift_N: Array, grad_N: Array, grad_NV: Array,
    thread: int, threads: int,
) -> None:  # fmt: skip
    for n in share(len(logits_NV), thread, threads):
        logits_V, grad_V, shift, grad = logits_NV[n], grad_NV[n], shift_N[n], grad_N[n] * scale
        for i in range(len(logits_V)):
            grad_V[i] = from_float32(-grad * _probability(logits_V[i], scale, shift), grad_V)
        target = target_N[n]
        p = _probability(logits_V[target], scale, shift)
        grad_V[target] = from_float32(grad * (ONE - p), grad_V)


@kernel
def _gradient(
    logits_NV: Array, target_N: Array, scale: Array, shift_N: Array, grad_N: Array, grad_NV: Array, threads: int
) -> None:
    parallel(_gradient_rows, (logits_NV, target_N, scale, shift_N, grad_N, grad_NV), threads)


def logprobs(logits_NV: Tensor, target_N: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the targets' log-probabilities [N], the entropies [N], and the logarithms of the sums of weights [N]."""
    results = [logits_NV.new_empty(len(logits_NV)) for _ in range(3)]
    operands = (array(x) for x in results)
    threads = max(1, min(torch.get_num_threads(), len(logits_NV)))
    _logprobs(array(logits_NV), array(target_N.contiguous()), np.float32(1 / temperature), *operands, threads)
    return results[0], results[1], results[2]


def logits_gradient(
    logits_NV: Tensor, shift_N: Tensor, target_N: Tensor, temperature: float, grad_N: Tensor, dtype: torch.dtype
) -> Tensor:
    """Return the gradient of log-probabilities for logits, in a dtype. `shift_N` is the last result of `logprobs`."""
    grad_NV = torch.empty_like(logits_NV, dtype=dtype if dtype in DTYPES else torch.float32)
    given = (array(logits_NV), array(target_N.contiguous()), np.float32(1 / temperature), array(shift_N))
    _gradient(*given, array(grad_N.contiguous()), array(grad_NV), max(1, min(torch.get_num_threads(), len(logits_NV))))
    return grad_NV.to(dtype)
