"""Kernels of attention between its products: from scores to weights, and from gradients of weights to those of scores.

Both work in place and compute rows one by one. A query sees the first keys of a prefix, and its own keys up to itself;
the weights of all other keys are 0. Arrays as in `model.fused.rows`.

Shapes: B rows, N queries of all rows: tokens within heads within rows; S keys, of a prefix and then own ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from r1kit.model.fused.compiler import array, from_float32, kernel, parallel, rounded, to_float32
from r1kit.model.fused.rows import LOG2_E, ONE, ZERO, Array, largest, power_of_two, share

STEP = 32  # keys: loops over a multiple need no scalar rest
LEAST = np.float32(-np.inf)


@kernel
def _fill(x: Array, number: Array) -> None:
    for i in range(len(x)):
        x[i] = number


@kernel
def _weight_rows(
    scores_NS: Array, length_B: Array, prefix: int, before: int, tokens: int, scale: Array, thread: int, threads: int
) -> None:
    queries, keys = len(scores_NS) // len(length_B), scores_NS.shape[1]
    copy_S = np.empty(-(-keys // STEP) * STEP, np.float32)
    for n in share(len(scores_NS), thread, threads):
        end = prefix + before + n % tokens + 1
        used = -(-end // STEP) * STEP
        row, scores_S = copy_S[:used], scores_NS[n, : min(used, keys)]
        for i in range(len(scores_S)):
            row[i] = to_float32(scores_S[i])
        _fill(row[length_B[n // queries] : prefix], LEAST)
        _fill(row[end:], LEAST)
        most, total = largest(row), ZERO
        for i in range(len(row)):
            weight = power_of_two((row[i] - most) * scale)
            row[i] = weight
            total += weight
        part = ONE / total
        for i in range(len(scores_S)):
            scores_S[i] = rounded(row[i] * part, scores_S)
        _fill(scores_NS[n, used:], from_float32(ZERO, scores_NS))


@kernel
def _weights(
    scores_NS: Array, length_B: Array, prefix: int, before: int, tokens: int, scale: Array, threads: int
) -> None:
    parallel(_weight_rows, (scores_NS, length_B, prefix, before, tokens, scale), threads)


@kernel
def _gradient_rows(
    weights_NS: Array, grad_NS: Array, seen: int, tokens: int, scale: Array, thread: int, threads: int
) -> None:
    for n in share(len(weights_NS), thread, threads):
        used = -(-(seen + n % tokens + 1) // STEP) * STEP
        weights_S, grad_S, mean = weights_NS[n, :used], grad_NS[n, :used], ZERO
        for i in range(len(weights_S)):
            mean += to_float32(weights_S[i]) * to_float32(grad_S[i])
        for i in range(len(weights_S)):
            grad_S[i] = rounded(to_float32(weights_S[i]) * (to_float32(grad_S[i]) - mean) * scale, grad_S)
        _fill(grad_NS[n, used:], from_float32(ZERO, grad_NS))


@kernel
def _gradient(weights_NS: Array, grad_NS: Array, seen: int, tokens: int, scale: Array, threads: int) -> None:
    parallel(_gradient_rows, (weights_NS, grad_NS, seen, tokens, scale), threads)


def _operands(*tensors: Tensor) -> tuple[list[Array], int]:
    """Return arrays [N, S], and a number of threads."""
    rows = [x.view(-1, x.shape[-1]) for x in tensors]
    return [array(x) for x in rows], max(1, min(torch.get_num_threads(), len(rows[0])))


def weights_from_scores(scores: Tensor, length_B: Tensor, prefix: int, before: int, tokens: int, scale: float) -> None:
    """Replace products of queries and keys [..., S] by softmax(products * scale) over the keys that a query sees.

    `prefix` keys come first, of which a row sees as many as `length_B` (int64) says; then the own keys of `before`
    earlier tokens and of the `tokens` of each head.
    """
    (scores_NS,), threads = _operands(scores)
    _weights(scores_NS, array(length_B), prefix, before, tokens, np.float32(scale * LOG2_E), threads)


def scores_gradient(weights: Tensor, grad: Tensor, seen: int, tokens: int, scale: float) -> None:
    """Replace the gradient of weights [..., S] by that of the products, where `seen` keys precede those of `tokens`."""
    (weights_NS, grad_NS), threads = _operands(weights, grad)
    _gradient(weights_NS, grad_NS, seen, tokens, np.float32(scale), threads)
