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
    for start in range(0, q.shape[2], QUERY_BLOCK):
        end, keys = start + QUERY_BLOCK, round_up(before + start + QUERY_BLOCK)
        parts.append(_attend_block(q[:, :, start:end], k[:, :, :keys], v[:, :, :keys], mask[..., start:end, :keys]))
    return torch.cat(parts, dim=2)


def _attend_block(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    rows, heads, tokens, width = q.shape
    kv_heads = k.shape[1]
    q = (q * width**-0.5).reshape(rows, kv_heads, -1, width)
    scores = torch.unflatten(q @ k.transpose(-1, -2), 2, (heads // kv_heads, tokens))
    weights = torch.softmax(scores + mask, dim=-1).flatten(2, 3)
    return (weights @ v).reshape(rows, heads, tokens, width)


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

    Training and generation use it to compute a prompt once for its group.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor], prefix_mask_BL: Tensor, tokens: int) -> None:
        self.keys, self.values = keys, values  # per layer [B, K, L, E]: one row per completion
        self.prefix_length = prefix_mask_BL.shape[1]
        causal_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=prefix_mask_BL.device).tril()
        rows = prefix_mask_BL.shape[0]
        visible = torch.cat(
            (prefix_mask_BL[:, None, None, :].expand(-1, 1, tokens, -1), causal_TT.expand(rows, 1, -1, -1)), dim=-1
        )
        padding = round_up(visible.shape[-1]) - visible.shape[-1]
        visible = F.pad(visible, (0, padding))
        self.padding = keys[0].new_zeros(*keys[0].shape[:2], padding, keys[0].shape[3])
        # An additive mask: a boolean one would be converted again in every layer.
        self.mask = torch.zeros(visible.shape, dtype=keys[0].dtype, device=visible.device).masked_fill_(
            ~visible, -torch.inf
        )

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend to the prefix and to the new tokens up to each query."""
        k = torch.cat((self.keys[layer], k, self.padding), dim=2)
        v = torch.cat((self.values[layer], v, self.padding), dim=2)
        if _prefers_matmul(q):
            return matmul_attention(q, k, v, self.mask[:, :, None], self.prefix_length)
        gqa = q.shape[1] != k.shape[1]
        if gqa and q.is_cuda:  # with a mask and grouped heads, torch would hold all scores at once
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
            gqa = False
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, enable_gqa=gqa)
