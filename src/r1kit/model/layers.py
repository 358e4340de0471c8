"""Normalisation, rotary positions and the gated MLP of Qwen and Llama decoders.

Gradients are written by hand. Where none is wanted they are left out: with the few rows of a decode step autograd's
bookkeeping takes longer than the arithmetic.

Shapes: B rows, T tokens, D model width, H query heads, K key-value heads, E head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from r1kit.model.config import ModelConfig, RopeScaling


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return _RMSNorm.apply(x, self.weight, self.eps)


class _RMSNorm(torch.autograd.Function):
    """torch's own, with a gradient in fewer passes: the rows' scales are computed again, nothing else is kept."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return F.rms_norm(x, weight.shape, weight, eps)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
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
    """SwiGLU (Shazeer 2020); gate and up are one product."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_up = self.gate_up(x_BTD)
        return self.down(_GatedSiLU.apply(gate_up) if torch.is_grad_enabled() else _gated_silu(gate_up))


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021), Llama 3's frequency scaling included."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.register_buffer("frequencies", _frequencies(config), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Rotary:
        """Follow the model to another device, never to another dtype: angles need fp32. No checkpoint holds them."""
        self.frequencies = _frequencies(self.config).to(fn(self.frequencies).device)
        return self

    def forward(self, positions_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine, [B, T, 1, E/2], of every position's angles; computed in fp32."""
        angles = positions_BT[..., None, None].float() * self.frequencies
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x_BTHE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + E/2]) by its position's angle."""
    return _Rotate.apply(x_BTHE, cos, sin) if torch.is_grad_enabled() else _turn(x_BTHE, cos, sin, 1)


class _Rotate(torch.autograd.Function):
    """Four passes over memory instead of seven, and as many back: the gradient is turned the other way."""

    @staticmethod
    def forward(ctx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return _turn(grad, *ctx.saved_tensors, -1), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, way: int) -> Tensor:
    turned = torch.empty_like(x, memory_format=torch.contiguous_format)
    (first, second), (new_first, new_second) = x.chunk(2, dim=-1), turned.chunk(2, dim=-1)
    torch.mul(first, cos, out=new_first).addcmul_(second, sin, value=-way)
    torch.mul(second, cos, out=new_second).addcmul_(first, sin, value=way)
    return turned


class _GatedSiLU(torch.autograd.Function):
    """silu(gate) * up, keeping only its input for the backward pass."""

    @staticmethod
    def forward(ctx, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        return _gated_silu(gate_up)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        turned = torch.empty_like(gate_up)
        grad_gate, grad_up = turned.chunk(2, dim=-1)
        kept = F.silu(gate)
        torch.mul(grad, kept, out=grad_up)
        torch.mul(grad, up, out=kept)
        torch.ops.aten.silu_backward.grad_input(kept, gate, grad_input=grad_gate)
        return turned


def _gated_silu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def _frequencies(config: ModelConfig) -> Tensor:
    """Radians a position turns each pair by, [E/2], fp32; always a real tensor, whatever the default device."""
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device="cpu")
    frequencies = 1.0 / config.rope_theta ** (pairs / config.head_dim)
    if config.rope_scaling is None:
        return frequencies
    return _llama3_frequencies(frequencies, config.rope_scaling)


def _llama3_frequencies(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Slow down low frequencies by `factor`, keep high ones, blend between (Llama 3.1 model card)."""
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    blend = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    blend = blend.clamp(0, 1)
    return frequencies * (blend + (1 - blend) / scaling.factor)
