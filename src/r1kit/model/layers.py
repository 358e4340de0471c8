"""Normalisation, rotary positions and the gated MLP of Qwen and Llama decoders.

Gradients are written by hand. On a CPU with the extra `fast`, kernels compute the layers and their gradients
(`model.fused`). Without gradients the plain functions are called: for the few rows of a decode step, autograd's
bookkeeping takes longer than the arithmetic.

Shapes: B rows, T tokens, D model width, H query heads, K key-value heads, E head width, N positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from r1kit.model.autograd import Context, apply
from r1kit.model.config import ModelConfig, RopeScaling
from r1kit.model.fused.support import can_fuse


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return apply(_RMSNorm, x, self.weight, self.eps) if torch.is_grad_enabled() else _norm(x, self.weight, self.eps)


class _NormContext(Context, Protocol):
    eps: float


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    if can_fuse(x):
        from r1kit.model.fused import layers

        return layers.norm(x, weight, eps)
    return F.rms_norm(x, weight.shape, weight, eps)


class _RMSNorm(torch.autograd.Function):
    """RMSNorm with a gradient in fewer passes over memory. It saves the input and recomputes the scales."""

    @staticmethod
    def forward(ctx: _NormContext, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return _norm(x, weight, eps)

    @staticmethod
    def backward(ctx: _NormContext, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        if can_fuse(x):
            from r1kit.model.fused import layers

            return *layers.norm_gradient(x, grad, weight, ctx.eps), None
        width = x.shape[-1]
        x_ND, grad_ND = x.reshape(-1, width), grad.reshape(-1, width)
        exact = torch.promote_types(x.dtype, torch.float32)
        mean_square_N = torch.linalg.vector_norm(x_ND, dim=-1, dtype=exact).square_() / width
        scale_N = (mean_square_N + ctx.eps).rsqrt_()
        grad_times_x_ND = grad_ND * x_ND
        along_x_N = (grad_times_x_ND @ weight).to(exact) * scale_N**3 / -width
        grad_x_ND = (grad_ND * weight).mul_(scale_N.to(x.dtype)[:, None])
        grad_x_ND.addcmul_(x_ND, along_x_N.to(x.dtype)[:, None])
        return grad_x_ND.view_as(grad), scale_N.to(x.dtype) @ grad_times_x_ND, None


class GatedMLP(nn.Module):
    """SwiGLU (Shazeer 2020). One matrix projects gate and up."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        gate_up: Tensor = self.gate_up(x_BTD)
        out_BTD: Tensor = self.down(apply(_GatedSiLU, gate_up) if torch.is_grad_enabled() else _gated_silu(gate_up))
        return out_BTD


def project(hidden: Tensor, weight_VD: Tensor, fp32: bool) -> Tensor:
    """Return logits [..., V] of hidden states [..., D].

    `fp32` computes and returns those of bfloat16 inputs in fp32. Rounded to bfloat16, a logit of 20 is off by up to
    0.06, and so is its log-probability.
    """
    if not fp32 or hidden.dtype.itemsize >= 4:
        return F.linear(hidden, weight_VD)
    if hidden.device.type == "cuda" and not torch.is_grad_enabled():  # tensor cores multiply bfloat16 and add in fp32
        logits_NV = torch.mm(hidden.flatten(0, -2), weight_VD.t(), out_dtype=torch.float32)
        return logits_NV.view(*hidden.shape[:-1], -1)
    return F.linear(hidden.float(), weight_VD.float())


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021), with Llama 3's frequency scaling."""

    frequencies: Tensor  # radians per position, [E/2], fp32

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("frequencies", _frequencies(config), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Rotary:
        """Move to the model's device but stay fp32: angles need it. Checkpoints do not hold the frequencies."""
        self.frequencies = _frequencies(self.config).to(fn(self.frequencies).device)
        return self

    def forward(self, positions_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cosine and sine [B, T, 1, E/2] of every position's angles, computed in fp32."""
        angles = positions_BT[..., None, None].float() * self.frequencies
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x_BTHE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (x[i], x[i + E/2]) by its position's angle."""
    return apply(_Rotate, x_BTHE, cos, sin) if torch.is_grad_enabled() else _rotated(x_BTHE, cos, sin, 1)


class _Rotate(torch.autograd.Function):
    """Rotation in four passes over memory instead of seven. The gradient is rotated back by the same angle."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin, 1)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, sin, -1), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
    """Rotate by +angle (direction 1) or -angle (direction -1)."""
    rotated = torch.empty_like(x, memory_format=torch.contiguous_format)
    (first, second), (new_first, new_second) = x.chunk(2, dim=-1), rotated.chunk(2, dim=-1)
    torch.mul(first, cos, out=new_first).addcmul_(second, sin, value=-direction)
    torch.mul(second, cos, out=new_second).addcmul_(first, sin, value=direction)
    return rotated


def split_rotated(qkv_BTJE: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return rotated queries [B, T, H, E] and keys [B, T, K, E], and values [B, T, K, E]: J = H + 2 K."""
    kv_heads = (qkv_BTJE.shape[2] - heads) // 2
    if can_fuse(qkv_BTJE):
        outputs = _SplitRotated.apply(qkv_BTJE, cos, sin, heads)  # type: ignore[no-untyped-call]  # torch's
        return cast(tuple[Tensor, Tensor, Tensor], outputs)
    qk, v = torch.split_with_sizes(qkv_BTJE, (heads + kv_heads, kv_heads), dim=2)
    q, k = torch.split_with_sizes(rotate(qk, cos, sin), (heads, kv_heads), dim=2)
    return q, k, v


class _SplitRotated(torch.autograd.Function):
    """Rotation that writes queries, keys and values apart, and their gradients together, in one pass each."""

    @staticmethod
    def forward(ctx: Context, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        from r1kit.model.fused import layers

        ctx.save_for_backward(cos, sin)
        return layers.split_rotated(qkv, cos, sin, heads)

    @staticmethod
    def backward(ctx: Context, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, None, None, None]:
        from r1kit.model.fused import layers

        return layers.join_rotated(q, k, v, *ctx.saved_tensors), None, None, None


class _GatedSiLU(torch.autograd.Function):
    """silu(gate) * up. It saves only its input for the backward pass."""

    @staticmethod
    def forward(ctx: Context, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        return _gated_silu(gate_up)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        if can_fuse(gate_up):
            from r1kit.model.fused import layers

            return layers.gated_silu_gradient(gate_up, grad)
        gate, up = gate_up.chunk(2, dim=-1)
        grad_gate_up = torch.empty_like(gate_up)
        grad_gate, grad_up = grad_gate_up.chunk(2, dim=-1)
        scratch = F.silu(gate)
        torch.mul(grad, scratch, out=grad_up)
        torch.mul(grad, up, out=scratch)
        torch.ops.aten.silu_backward.grad_input(scratch, gate, grad_input=grad_gate)
        return grad_gate_up


def _gated_silu(gate_up: Tensor) -> Tensor:
    if can_fuse(gate_up):
        from r1kit.model.fused import layers

        return layers.gated_silu(gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def _frequencies(config: ModelConfig) -> Tensor:
    """Return radians per position [E/2] in fp32: a real tensor even where the default device is meta."""
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device="cpu")
    frequencies = 1.0 / config.rope_theta ** (pairs / config.head_dim)
    if config.rope_scaling is None:
        return frequencies
    return _llama3_frequencies(frequencies, config.rope_scaling)


def _llama3_frequencies(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Divide low frequencies by `factor`, keep high ones, blend between them (Llama 3.1 model card)."""
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    blend = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    blend = blend.clamp(0, 1)
    return frequencies * (blend + (1 - blend) / scaling.factor)
