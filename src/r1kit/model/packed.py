"""Attention for packed rows: many documents one after another, each attending only to itself.

Shapes: T tokens of a row, S the same with padding, H query heads, K key-value heads, E head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from r1kit.model.attention import causal_attention, has_varlen_attention, round_up, varlen_attention
from r1kit.model.autograd import Context, apply

MIN_FILL = 0.7  # a batch of documents: shortest / longest is at least this


class PackedAttention:
    """Causal attention within every document of a packed row, for a batch of one row.

    Documents of similar length form one batch, padded on the right as `causal_attention` allows. No T x T mask exists,
    and the cost of a document is the square of its own length.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device | str) -> None:
        starts = [0, *torch.tensor(lengths).cumsum(0).tolist()]
        self.starts = torch.tensor(starts, dtype=torch.int32, device=device)
        self.longest = max(lengths)
        self.shapes: list[tuple[int, int]] = []  # of the batches: documents, padded length
        sources: list[Tensor] = []  # padded position -> token, -1 for padding
        for group in similar_lengths(lengths):
            longest = round_up(lengths[group[0]])
            self.shapes.append((len(group), longest))
            offset_L = torch.arange(longest)
            sources += [torch.where(offset_L < lengths[i], starts[i] + offset_L, -1) for i in group]
        token_S = torch.cat(sources)
        padded_T = torch.empty(starts[-1], dtype=torch.long)  # token -> padded position: the inverse
        real_S = token_S >= 0
        padded_T[token_S[real_S]] = real_S.nonzero().squeeze(1)
        self.token_S, self.padded_T = token_S.to(device), padded_T.to(device)
        self.is_identity = torch.equal(token_S, torch.arange(starts[-1]))  # nothing to pad: no copies

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend within documents: q [1, H, T, E], k and v [1, K, T, E] -> [1, H, T, E]."""
        if has_varlen_attention(q):
            return varlen_attention(q, k, v, self.starts, self.longest)
        q, k, v = (self._gather(x[0].transpose(0, 1), self.token_S, self.padded_T) for x in (q, k, v))  # [S, heads, E]
        mixed, sizes = [], [rows * length for rows, length in self.shapes]
        pieces = (torch.split_with_sizes(x, sizes) for x in (q, k, v))
        for shape, *qkv in zip(self.shapes, *pieces, strict=True):
            q_b, k_b, v_b = (torch.unflatten(x, 0, shape).transpose(1, 2) for x in qkv)
            mixed.append(causal_attention(layer, q_b, k_b, v_b).transpose(1, 2).flatten(0, 1))
        return self._gather(torch.cat(mixed), self.padded_T, self.token_S).transpose(0, 1)[None]

    def _gather(self, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        return x if self.is_identity else apply(_Gather, x, index, inverse)


def similar_lengths(lengths: Sequence[int]) -> list[list[int]]:
    """Group indices so that the lengths in a group are similar, longest first."""
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups and lengths[i] >= MIN_FILL * lengths[groups[-1][0]]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


class _Gather(torch.autograd.Function):
    """Rows x[index], zero where the index is -1. The gradient gathers by the inverse index instead of scattering."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return _take(x, index)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return _take(grad, inverse), None, None


def _take(x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(0, index.clamp(min=0)).masked_fill_((index < 0)[:, None, None], 0)
