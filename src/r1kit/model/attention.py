"""Attention patterns. The decoder is the same for all; what a token may attend to is an `AttentionFn` passed to it.

Shapes: B rows, T new tokens, H query heads, K key-value heads (H is a multiple of K), E head width, L prefix length,
S keys.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.torch_version import TorchVersion

from r1kit.model.autograd import Context, apply
from r1kit.model.fused.support import can_fuse

KEY_MULTIPLE = 32  # a CPU's softmax is faster over a multiple of this many keys
QUERY_BLOCK = 128  # queries whose scores are held at once


def round_up(length: int, multiple: int = KEY_MULTIPLE) -> int:
    """Return the smallest multiple that is at least `length`."""
    return -(-length // multiple) * multiple


class AttentionFn(Protocol):
    """Attention of one layer: q [B, H, T, E], k and v [B, K, T, E] -> [B, H, T, E]."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the mixed values of one layer."""
        ...


def causal_attention(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Let every token attend to its own row up to itself. Right padding needs no mask."""
    if _prefers_matmul(q):
        if can_fuse(q):
            return _mix(q, k, v, torch.zeros(len(q), dtype=torch.long), prefix=0)
        return matmul_attention(q, k, v, _causal_mask(q), before=0)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])


def has_varlen_attention(q: Tensor) -> bool:
    """Return whether torch's FlashAttention for packed documents can be used: 16-bit floats on a GPU, torch 2.12."""
    return q.is_cuda and q.dtype.itemsize == 2 and TorchVersion(torch.__version__) >= "2.12"


def varlen_attention(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int) -> Tensor:
    """Let every token attend to its own document up to itself, without padding.

    q [1, H, T, E], k and v [1, K, T, E] -> [1, H, T, E]. `starts` are the documents' first tokens, and T.
    """
    from torch.nn.attention import varlen  # absent from older versions of torch

    q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
    window, gqa = (-1, 0), q.shape[1] != k.shape[1]
    mixed = varlen.varlen_attn(q, k, v, starts, starts, longest, longest, window_size=window, enable_gqa=gqa)
    assert isinstance(mixed, Tensor)  # a tuple only where auxiliary results are asked for
    return mixed.transpose(0, 1)[None]


def _prefers_matmul(q: Tensor) -> bool:
    """Return whether plain products beat torch's fused kernel: in bfloat16 on a CPU, by more than twice."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16


def _causal_mask(q: Tensor) -> Tensor:
    tokens = q.shape[2]
    return torch.full((tokens, tokens), -torch.inf, dtype=q.dtype, device=q.device).triu(1)


def matmul_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, before: int) -> Tensor:
    """Compute softmax(q k / sqrt(E) + mask) v, with a mask [T, S] or [B, 1, 1, T, S].

    Query t attends at most to the first `before` keys and the t + 1 keys after them. Long inputs are computed in
    blocks of queries, each of which skips the keys behind it.
    """
    if q.shape[2] <= QUERY_BLOCK:
        return _attend_block(q, k, v, mask)
    parts = []
    for start, end, keys in _blocks(q.shape[2], before):
        parts.append(_attend_block(q[:, :, start:end], k[:, :, :keys], v[:, :, :keys], mask[..., start:end, :keys]))
    return torch.cat(parts, dim=2)


def _blocks(tokens: int, before: int) -> list[tuple[int, int, int]]:
    """Return the first query of each block, where it ends, and how many keys it needs, unless there are fewer."""
    ends = [(start, min(start + QUERY_BLOCK, tokens)) for start in range(0, tokens, QUERY_BLOCK)]
    return [(start, end, round_up(before + end)) for start, end in ends]


def _attend_block(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    rows, heads, tokens, width = q.shape
    kv_heads = k.shape[1]
    q = (q * width**-0.5).reshape(rows, kv_heads, -1, width)
    scores = torch.unflatten(q @ k.transpose(-1, -2), 2, (heads // kv_heads, tokens))
    weights = torch.softmax(scores + mask, dim=-1).flatten(2, 3)
    return (weights @ v).reshape(rows, heads, tokens, width)


def _mix(q: Tensor, k: Tensor, v: Tensor, length_B: Tensor, prefix: int) -> Tensor:
    """Attend with kernels: to the first `length_B` keys of a prefix, and causally to the keys behind it."""
    if torch.is_grad_enabled():
        return apply(_Mix, q, k, v, length_B, prefix)
    return _mix_blocks(q, k.contiguous(), v.contiguous(), length_B, prefix, None)


def _mix_blocks(q: Tensor, k: Tensor, v: Tensor, length_B: Tensor, prefix: int, kept: list[Tensor] | None) -> Tensor:
    """Return the mixed values. Append the queries and the weights of every block to `kept`, for the backward pass."""
    from r1kit.model.fused.attention import weights_from_scores

    mixed = _like_tokens(q)
    for start, end, keys in _blocks(q.shape[2], prefix):
        q_MXE, k_MSE, v_MSE = _matrices(q[:, :, start:end], k), _matrices(k[:, :, :keys]), _matrices(v[:, :, :keys])
        weights_MXS = q_MXE @ k_MSE.transpose(1, 2)
        weights_from_scores(weights_MXS, length_B, prefix, start, end - start, q.shape[3] ** -0.5)
        mixed[:, :, start:end] = (weights_MXS @ v_MSE).view(mixed[:, :, start:end].shape)
        if kept is not None:
            kept += [q_MXE, weights_MXS]
    return mixed


def _like_tokens(x_BHTE: Tensor) -> Tensor:
    """Return an uninitialized [B, H, T, E] with the memory of [B, T, H, E], in the order that projections read."""
    return torch.empty_like(x_BHTE.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


def _matrices(x: Tensor, like: Tensor | None = None) -> Tensor:
    """Return the rows and key-value heads of x, those of keys `like`, as M = B * K matrices [M, X, E]."""
    return x.reshape(len(x) * (x if like is None else like).shape[1], -1, x.shape[3])


class _MixContext(Context, Protocol):
    prefix: int


class _Mix(torch.autograd.Function):
    """Attention with fewer passes over its weights. Like autograd, it keeps those of every block of queries."""

    @staticmethod
    def forward(ctx: _MixContext, q: Tensor, k: Tensor, v: Tensor, length_B: Tensor, prefix: int) -> Tensor:
        kept: list[Tensor] = []
        k, v = k.contiguous(), v.contiguous()
        mixed = _mix_blocks(q, k, v, length_B, prefix, kept)
        ctx.save_for_backward(k, v, *kept)
        ctx.prefix = prefix
        return mixed

    @staticmethod
    def backward(ctx: _MixContext, grad: Tensor) -> tuple[Tensor | None, ...]:
        from r1kit.model.fused.attention import scores_gradient

        k, v, *kept = ctx.saved_tensors
        grad_q, totals = _like_tokens(grad), list[Tensor]()
        for start, end, keys in reversed(_blocks(grad.shape[2], ctx.prefix)):
            weights_MXS, q_MXE, grad_MXE = kept.pop(), kept.pop(), _matrices(grad[:, :, start:end], k)
            grad_MXS = grad_MXE @ _matrices(v[:, :, :keys]).transpose(1, 2)
            scores_gradient(weights_MXS, grad_MXS, ctx.prefix + start, end - start, grad.shape[3] ** -0.5)
            grad_q_MXE = grad_MXS @ _matrices(k[:, :, :keys])
            grad_q[:, :, start:end] = grad_q_MXE.view(grad_q[:, :, start:end].shape)
            pairs = [(grad_MXS.transpose(1, 2), q_MXE), (weights_MXS.transpose(1, 2), grad_MXE)]
            if not totals:  # the last block has all keys
                totals = [left @ right for left, right in pairs]
                continue
            for total_MSE, (left, right) in zip(totals, pairs, strict=True):
                total_MSE[:, : left.shape[1]].baddbmm_(left, right)
        grad_k, grad_v = (x.view(k.shape) for x in totals)
        return grad_q, grad_k, grad_v, None, None


class RecordingAttention:
    """Attention that keeps the keys and values of every layer, for later tokens to attend to."""

    def __init__(self, attend: AttentionFn = causal_attention) -> None:
        self.attend = attend
        self.keys: list[Tensor] = []  # per layer [B, K, T, E]
        self.values: list[Tensor] = []

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Record k and v, then attend. A layer that is recomputed in the backward pass is not recorded again."""
        if layer == len(self.keys):
            self.keys.append(k)
            self.values.append(v)
        return self.attend(layer, q, k, v)


class PrefixAttention:
    """Attention to the recorded keys and values of a prefix, then causally to the new tokens.

    Training and generation use it to compute a prompt once for its group. Prefixes are padded on the right.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor], prefix_mask_BL: Tensor, tokens: int) -> None:
        self.keys, self.values = keys, values  # per layer [B, K, L, E]: one row per completion
        self.prefix_length = prefix_mask_BL.shape[1]
        self.length_B = prefix_mask_BL.sum(1)
        padding = round_up(self.prefix_length + tokens) - self.prefix_length - tokens
        self.padding = keys[0].new_zeros(*keys[0].shape[:2], padding, keys[0].shape[3])
        self.is_fused = _prefers_matmul(keys[0]) and can_fuse(keys[0])
        if not self.is_fused:
            self.mask = _prefix_mask(prefix_mask_BL, tokens, padding, keys[0].dtype)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend to the prefix and to the new tokens up to each query."""
        k = torch.cat((self.keys[layer], k, self.padding), dim=2)
        v = torch.cat((self.values[layer], v, self.padding), dim=2)
        if self.is_fused:
            return _mix(q, k, v, self.length_B, self.prefix_length)
        if _prefers_matmul(q):
            return matmul_attention(q, k, v, self.mask[:, :, None], self.prefix_length)
        gqa = q.shape[1] != k.shape[1]
        if gqa and q.is_cuda:  # with a mask and grouped heads, torch would hold all scores at once
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
            gqa = False
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, enable_gqa=gqa)


def _prefix_mask(prefix_mask_BL: Tensor, tokens: int, padding: int, dtype: torch.dtype) -> Tensor:
    """Return an additive mask [B, 1, T, S]: a boolean one would be converted again in every layer."""
    causal_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=prefix_mask_BL.device).tril()
    rows = prefix_mask_BL.shape[0]
    visible = torch.cat(
        (prefix_mask_BL[:, None, None, :].expand(-1, 1, tokens, -1), causal_TT.expand(rows, 1, -1, -1)), dim=-1
    )
    visible = F.pad(visible, (0, padding))
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, -torch.inf)
