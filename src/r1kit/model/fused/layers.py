"""Kernels of the decoder's layers in training, with their gradients. Each computes its rows one by one.

Arrays as in `model.fused.rows`. The functions that a caller uses take torch's tensors and use torch's threads.

Shapes: N positions, D model width, F inner width of the MLP, X several of its vectors side by side; B rows, T tokens, H
query heads, K key-value heads, J = H + 2 K, E head width; W threads.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from r1kit.model.fused.compiler import array, from_float32, kernel, parallel, to_float32
from r1kit.model.fused.rows import ONE, ZERO, Array, copy, norm_scale, normalize, share, sigmoid


def _threads(rows: int) -> int:
    return max(1, min(torch.get_num_threads(), rows))


# -- RMSNorm ----------------------------------------------------------------------------------------------------------


@kernel
def _norm_rows(x_ND: Array, gain_D: Array, eps: Array, normed_ND: Array, thread: int, threads: int) -> None:
    row_D = np.empty(x_ND.shape[1], np.float32)
    for n in share(len(x_ND), thread, threads):
        normalize(x_ND[n], gain_D, eps, row_D, normed_ND[n])


@kernel
def _norm(x_ND: Array, gain_D: Array, eps: Array, normed_ND: Array, threads: int) -> None:
    parallel(_norm_rows, (x_ND, gain_D, eps, normed_ND), threads)


@kernel
def _norm_gradient_rows(
    x_ND: Array, grad_ND: Array, gain_D: Array, eps: Array, grad_x_ND: Array, grad_gain_WD: Array,
    thread: int, threads: int,
) -> None:  # fmt: skip
    row_D, scaled_D = np.empty(x_ND.shape[1], np.float32), np.empty(x_ND.shape[1], np.float32)
    grad_gain_D = grad_gain_WD[thread]
    grad_gain_D[:] = ZERO
    for n in share(len(x_ND), thread, threads):
        x_D, grad_D, grad_x_D, along = x_ND[n], grad_ND[n], grad_x_ND[n], ZERO
        for d in range(len(x_D)):
            row_D[d] = to_float32(x_D[d])
        scale = norm_scale(row_D, eps)
        for d in range(len(x_D)):
            grad = to_float32(grad_D[d])
            grad_gain_D[d] += grad * row_D[d] * scale
            scaled_D[d] = grad * to_float32(gain_D[d])
            along += scaled_D[d] * row_D[d]
        along *= scale * scale / np.float32(len(x_D))
        for d in range(len(x_D)):
            grad_x_D[d] = from_float32((scaled_D[d] - row_D[d] * along) * scale, grad_x_D)


@kernel
def _norm_gradient(
    x_ND: Array, grad_ND: Array, gain_D: Array, eps: Array, grad_x_ND: Array, grad_gain_WD: Array, threads: int
) -> None:
    parallel(_norm_gradient_rows, (x_ND, grad_ND, gain_D, eps, grad_x_ND, grad_gain_WD), threads)


def norm(x: Tensor, gain_D: Tensor, eps: float) -> Tensor:
    """Return the RMSNorm of the last dimension."""
    x_ND = x.reshape(-1, len(gain_D)).contiguous()
    normed_ND = torch.empty_like(x_ND)
    _norm(array(x_ND), array(gain_D), np.float32(eps), array(normed_ND), _threads(len(x_ND)))
    return normed_ND.view(x.shape)


def norm_gradient(x: Tensor, grad: Tensor, gain_D: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the gradients of `norm` for its input and its gain."""
    x_ND, grad_ND = (each.reshape(-1, len(gain_D)).contiguous() for each in (x, grad))
    threads, grad_x_ND = _threads(len(x_ND)), torch.empty_like(x_ND)
    grad_gain_WD = torch.empty(threads, len(gain_D))
    operands = (array(each) for each in (grad_x_ND, grad_gain_WD))
    _norm_gradient(array(x_ND), array(grad_ND), array(gain_D), np.float32(eps), *operands, threads)
    return grad_x_ND.view(x.shape), grad_gain_WD.sum(0).to(gain_D.dtype)


# -- gated SiLU -------------------------------------------------------------------------------------------------------


@kernel
def gated_silu_rows(gate_up_NX: Array, gated_NF: Array, thread: int, threads: int) -> None:
    """Write silu(gate) * up, given the rows of gate and up side by side: X = 2 F."""
    width = gated_NF.shape[1]
    for n in share(len(gated_NF), thread, threads):
        gate_F, up_F, gated_F = gate_up_NX[n, :width], gate_up_NX[n, width:], gated_NF[n]
        for f in range(width):
            gate = to_float32(gate_F[f])
            gated_F[f] = from_float32(gate * sigmoid(gate) * to_float32(up_F[f]), gated_F)


@kernel
def _gated_silu(gate_up_NX: Array, gated_NF: Array, threads: int) -> None:
    parallel(gated_silu_rows, (gate_up_NX, gated_NF), threads)


@kernel
def _gated_silu_gradient_rows(
    gate_up_NX: Array, grad_NF: Array, grad_gate_up_NX: Array, thread: int, threads: int
) -> None:
    width = grad_NF.shape[1]
    for n in share(len(grad_NF), thread, threads):
        gate_F, up_F, grad_F = gate_up_NX[n, :width], gate_up_NX[n, width:], grad_NF[n]
        grad_gate_F, grad_up_F = grad_gate_up_NX[n, :width], grad_gate_up_NX[n, width:]
        for f in range(width):
            gate, grad = to_float32(gate_F[f]), to_float32(grad_F[f])
            open_share = sigmoid(gate)
            slope = open_share * (ONE + gate * (ONE - open_share))
            grad_gate_F[f] = from_float32(grad * to_float32(up_F[f]) * slope, grad_gate_F)
            grad_up_F[f] = from_float32(grad * gate * open_share, grad_up_F)


@kernel
def _gated_silu_gradient(gate_up_NX: Array, grad_NF: Array, grad_gate_up_NX: Array, threads: int) -> None:
    parallel(_gated_silu_gradient_rows, (gate_up_NX, grad_NF, grad_gate_up_NX), threads)


def gated_silu(gate_up: Tensor) -> Tensor:
    """Return silu(gate) * up, whose inputs are side by side in the last dimension."""
    gate_up_NX = gate_up.reshape(-1, gate_up.shape[-1]).contiguous()
    gated_NF = gate_up_NX.new_empty(len(gate_up_NX), gate_up.shape[-1] // 2)
    _gated_silu(array(gate_up_NX), array(gated_NF), _threads(len(gate_up_NX)))
    return gated_NF.view(*gate_up.shape[:-1], -1)


def gated_silu_gradient(gate_up: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of `gated_silu` for its input."""
    gate_up_NX, grad_NF = (x.reshape(-1, x.shape[-1]).contiguous() for x in (gate_up, grad))
    grad_gate_up_NX = torch.empty_like(gate_up_NX)
    operands = (array(x) for x in (gate_up_NX, grad_NF, grad_gate_up_NX))
    _gated_silu_gradient(*operands, _threads(len(gate_up_NX)))
    return grad_gate_up_NX.view(gate_up.shape)


# -- rotary positions -------------------------------------------------------------------------------------------------


@kernel
def _turn(from_E: Array, cos_F: Array, sin_F: Array, direction: Array, to_E: Array) -> None:
    """Rotate each pair (x[i], x[i + E/2]) by its angle, or by the opposite one with direction -1. F is E / 2."""
    half = len(cos_F)
    a_F, b_F, to_a_F, to_b_F = from_E[:half], from_E[half:], to_E[:half], to_E[half:]
    for e in range(half):
        cos, sin, a, b = to_float32(cos_F[e]), to_float32(sin_F[e]) * direction, to_float32(a_F[e]), to_float32(b_F[e])
        to_a_F[e] = from_float32(a * cos - b * sin, to_a_F)
        to_b_F[e] = from_float32(b * cos + a * sin, to_b_F)


@kernel
def _split_rows(
    qkv_BTJE: Array, cos_BTF: Array, sin_BTF: Array, q_BTHE: Array, k_BTKE: Array, v_BTKE: Array,
    thread: int, threads: int,
) -> None:  # fmt: skip
    (_, tokens, heads, _), kv_heads = q_BTHE.shape, k_BTKE.shape[2]
    for n in share(len(q_BTHE) * tokens, thread, threads):
        b, t = n // tokens, n % tokens
        qkv_JE = qkv_BTJE[b, t]
        for h in range(heads):
            _turn(qkv_JE[h], cos_BTF[b, t], sin_BTF[b, t], ONE, q_BTHE[b, t, h])
        for k in range(kv_heads):
            _turn(qkv_JE[heads + k], cos_BTF[b, t], sin_BTF[b, t], ONE, k_BTKE[b, t, k])
            copy(qkv_JE[heads + kv_heads + k], v_BTKE[b, t, k])


@kernel
def _split(
    qkv_BTJE: Array, cos_BTF: Array, sin_BTF: Array, q_BTHE: Array, k_BTKE: Array, v_BTKE: Array, threads: int
) -> None:
    parallel(_split_rows, (qkv_BTJE, cos_BTF, sin_BTF, q_BTHE, k_BTKE, v_BTKE), threads)


@kernel
def _join_rows(
    q_BTHE: Array, k_BTKE: Array, v_BTKE: Array, cos_BTF: Array, sin_BTF: Array, qkv_BTJE: Array,
    thread: int, threads: int,
) -> None:  # fmt: skip
    (_, tokens, heads, _), kv_heads = q_BTHE.shape, k_BTKE.shape[2]
    for n in share(len(q_BTHE) * tokens, thread, threads):
        b, t = n // tokens, n % tokens
        qkv_JE = qkv_BTJE[b, t]
        for h in range(heads):
            _turn(q_BTHE[b, t, h], cos_BTF[b, t], sin_BTF[b, t], -ONE, qkv_JE[h])
        for k in range(kv_heads):
            _turn(k_BTKE[b, t, k], cos_BTF[b, t], sin_BTF[b, t], -ONE, qkv_JE[heads + k])
            copy(v_BTKE[b, t, k], qkv_JE[heads + kv_heads + k])


@kernel
def _join(
    q_BTHE: Array, k_BTKE: Array, v_BTKE: Array, cos_BTF: Array, sin_BTF: Array, qkv_BTJE: Array, threads: int
) -> None:
    parallel(_join_rows, (q_BTHE, k_BTKE, v_BTKE, cos_BTF, sin_BTF, qkv_BTJE), threads)


def split_rotated(qkv_BTJE: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return rotated queries [B, T, H, E] and keys [B, T, K, E], and values. The angles are [B, T, 1, E/2]."""
    rows, tokens, all_heads, width = qkv_BTJE.shape
    kv_heads = (all_heads - heads) // 2
    q, k, v = (qkv_BTJE.new_empty(rows, tokens, count, width) for count in (heads, kv_heads, kv_heads))
    operands = (array(x.contiguous()) for x in (qkv_BTJE, cos[:, :, 0], sin[:, :, 0], q, k, v))
    _split(*operands, _threads(rows * tokens))
    return q, k, v


def join_rotated(q_BTHE: Tensor, k_BTKE: Tensor, v_BTKE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the gradient of `split_rotated` [B, T, J, E], given those of its results."""
    (rows, tokens, heads, width), kv_heads = q_BTHE.shape, k_BTKE.shape[2]
    qkv_BTJE = q_BTHE.new_empty(rows, tokens, heads + 2 * kv_heads, width)
    given = (q_BTHE, k_BTKE, v_BTKE, cos[:, :, 0], sin[:, :, 0], qkv_BTJE)
    _join(*(array(x.contiguous()) for x in given), _threads(rows * tokens))
    return qkv_BTJE
