"""How queries meet keys. The decoder is one; what a token may look at is an `Attend` handed to it.

Shapes: B rows, T new tokens, H query heads, K key-value heads (H a multiple of K), E head width, L prefix length.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

VECTOR = 32  # a CPU's softmax is faster over a multiple of so many keys
BLOCK = 128  # queries whose scores are computed at once


def aligned(length: int, multiple: int = VECTOR) -> int:
    return -(-length // multiple) * multiple


class Attend(Protocol):
    """Attention of one layer: q [B, H, T, E], k and v [B, K, T, E] -> [B, H, T, E]."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor: ...


def causal(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every token sees its own row up to itself. Right padding needs no mask: nothing real looks at it."""
    if _by_products(q):
        return products(q, k, v, _causal_mask(q), before=0)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])


def _by_products(q: Tensor) -> bool:
    """A CPU does plain bfloat16 products in under half the time of torch's fused kernel."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16


def _causal_mask(q: Tensor) -> Tensor:
    tokens = q.shape[2]
    return torch.full((tokens, tokens), -torch.inf, dtype=q.dtype, device=q.device).triu(1)


def products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, before: int) -> Tensor:
    """softmax(q k / sqrt(E) + mask) v, the mask [T, S] or [B, 1, 1, T, S].

    No query may see more than the first `before` keys and those up to its own place: where there are many, a block of
    queries leaves out the keys behind it.
    """
    if q.shape[2] <= BLOCK:
        return _products(q, k, v, mask)
    parts = []
    for first in range(0, q.shape[2], BLOCK):
        last, seen = first + BLOCK, aligned(before + first + BLOCK)
        parts.append(_products(q[:, :, first:last], k[:, :, :seen], v[:, :, :seen], mask[..., first:last, :seen]))
    return torch.cat(parts, dim=2)


def _products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    rows, heads, tokens, width = q.shape
    kv_heads = k.shape[1]
    q = (q * width**-0.5).reshape(rows, kv_heads, -1, width)
    scores = (q @ k.transpose(-1, -2)).unflatten(2, (heads // kv_heads, tokens))
    weights = torch.softmax(scores + mask, dim=-1).flatten(2, 3)
    return (weights @ v).reshape(rows, heads, tokens, width)


class Recorded:
    """Attention that keeps every layer's new keys and values, for a prefix that others will attend to."""

    def __init__(self, attend: Attend = causal) -> None:
        self.attend = attend
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.keys.append(k)
        self.values.append(v)
        return self.attend(layer, q, k, v)


class AfterPrefix:
    """Completions attend to their prompt's recorded keys and values, then causally to themselves.

    The prompt is computed once for its whole group, in training as in generation.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor], prefix_mask_BL: Tensor, tokens: int):
        self.keys, self.values = keys, values  # per layer [B, K, L, E], already one row per completion
        self.prefix = prefix_mask_BL.shape[1]
        own_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=prefix_mask_BL.device).tril()
        rows = prefix_mask_BL.shape[0]
        visible = torch.cat(
            (prefix_mask_BL[:, None, None, :].expand(-1, 1, tokens, -1), own_TT.expand(rows, 1, -1, -1)), dim=-1
        )
        unseen = aligned(visible.shape[-1]) - visible.shape[-1]
        visible = F.pad(visible, (0, unseen))
        self.unseen = keys[0].new_zeros(*keys[0].shape[:2], unseen, keys[0].shape[3])
        # Additive, so that it is not converted again in every layer.
        self.mask = torch.zeros(visible.shape, dtype=keys[0].dtype, device=visible.device).masked_fill_(
            ~visible, -torch.inf
        )

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k = torch.cat((self.keys[layer], k, self.unseen), dim=2)
        v = torch.cat((self.values[layer], v, self.unseen), dim=2)
        if _by_products(q):
            return products(q, k, v, self.mask[:, :, None], self.prefix)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, enable_gqa=q.shape[1] != k.shape[1])
