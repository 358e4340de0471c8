"""Attention for packed rows: many documents one after another, each seeing only itself.

Shapes: T tokens of a row, S its tokens with padding, H query heads, K key-value heads, E head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from r1kit.model.attention import aligned, causal

FULL_ENOUGH = 0.7  # the share of the longest document that the shortest attended to with it has


class Documents:
    """Causal attention within every document of a row, for a batch of one row.

    Documents of similar length are one batch, padded on the right as `causal` allows. So no T x T mask exists, and a
    short document costs no more than its own square.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device | str):
        starts = [0, *torch.tensor(lengths).cumsum(0).tolist()]
        self.shapes: list[tuple[int, int]] = []  # of the batches: documents, longest
        there: list[Tensor] = []  # padded position -> token, -1 where there is none
        for group in similar_lengths(lengths):
            longest = aligned(lengths[group[0]])
            self.shapes.append((len(group), longest))
            offset_L = torch.arange(longest)
            there += [torch.where(offset_L < lengths[i], starts[i] + offset_L, -1) for i in group]
        there_S = torch.cat(there)
        back_T = torch.empty(starts[-1], dtype=torch.long)
        real_S = there_S >= 0
        back_T[there_S[real_S]] = real_S.nonzero().squeeze(1)
        self.there_S, self.back_T = there_S.to(device), back_T.to(device)
        self.in_place = torch.equal(there_S, torch.arange(starts[-1]))  # nothing to pad: no copies

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (self._move(x[0].transpose(0, 1), self.there_S, self.back_T) for x in (q, k, v))  # [S, heads, E]
        mixed, sizes = [], [rows * length for rows, length in self.shapes]
        for shape, *qkv in zip(self.shapes, *(x.split(sizes) for x in (q, k, v)), strict=True):
            out = causal(layer, *(x.unflatten(0, shape).transpose(1, 2) for x in qkv))
            mixed.append(out.transpose(1, 2).flatten(0, 1))
        return self._move(torch.cat(mixed), self.back_T, self.there_S).transpose(0, 1)[None]

    def _move(self, x: Tensor, there: Tensor, back: Tensor) -> Tensor:
        return x if self.in_place else _Move.apply(x, there, back)


def similar_lengths(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in runs of similar length, longest first."""
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups and lengths[i] >= FULL_ENOUGH * lengths[groups[-1][0]]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


class _Move(torch.autograd.Function):
    """Rows x[there], zero where `there` is -1. Its gradient is moved by `back`, the inverse: reads, never scatters."""

    @staticmethod
    def forward(ctx, x: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return _pick(x, there)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return _pick(grad, *ctx.saved_tensors), None, None


def _pick(x: Tensor, there: Tensor) -> Tensor:
    return x.index_select(0, there.clamp(min=0)).masked_fill_((there < 0)[:, None, None], 0)
