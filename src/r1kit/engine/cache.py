"""The KV cache of running completions, and the attention of one decode step over it.

A row attends to up to three pieces: the prefix of all prompts of a call, its prompt, and its own tokens. Prefixes are
held once for all the rows that share them.

Shapes: N rows (distinct token sequences), P prefixes shared by rows, S slots (the most rows of one prefix), H query
heads, K key-value heads, G = H / K, E head width, L padded prefix length, C capacity for a row's own tokens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r1kit.engine.shared_prefix import SharedPrefix, copy_rows, grown
from r1kit.machine import allocatable_memory
from r1kit.model.attention import round_up

# Capacities and prompt lengths are multiples of this, so that a row's sums do not depend on its neighbours' lengths.
ALIGN = 16
RESERVED_SHARE = 0.25  # of the memory that can be allocated; more is not asked for in advance


class KVCache:
    """Keys and values of all rows; calling it computes the attention of one decode step."""

    def __init__(
        self,
        prefixes: list[SharedPrefix],
        own_k: list[Tensor],
        own_v: list[Tensor],
        starts_N: Tensor,
        sampled_from: int,
        lengths_N: Tensor,
        least: int = 0,
        most: int | None = None,
        reads_capacity: bool = True,
    ) -> None:
        self.prefixes = prefixes  # in the order of their tokens
        # Per layer [N, K, C, E]: the part of the prompt that is in no prefix, padded, then the sampled tokens.
        self.own_k, self.own_v = own_k, own_v
        self.sampled_from = sampled_from  # where in C the sampled tokens begin
        self.starts_N = starts_N  # the position of a row's first sampled token
        self.own_prompt_N = starts_N - sum(x.length_N for x in prefixes)  # prompt tokens in no prefix
        self.lengths_N = lengths_N  # tokens sampled so far
        self.least = least  # tokens that every product covers, used or not
        self.most = most  # tokens that a row may come to hold, if that is known
        # Products read all of C. Kernels read a row's own tokens alone: behind them is anything, and spare room.
        self.reads_capacity = reads_capacity
        self.step: Any = None  # what the kernels prepare in the first layer of every step

    def __len__(self) -> int:
        return len(self.lengths_N)

    @property
    def allocated_rows(self) -> int:
        """The rows that memory is allocated for, used or not."""
        return len(self.own_k[0])

    @property
    def shared_tokens(self) -> int:
        """The tokens in prefixes that rows share, with their padding."""
        return sum(x.keys[0].shape[0] * x.keys[0].shape[2] for x in self.prefixes)

    def row_tokens(self, steps: int) -> int:
        """Return the tokens that every row holds after `steps` more, with its padding."""
        return self.sampled_from + round_up(int(self.lengths_N.max()) + steps, ALIGN)

    @property
    def is_sorted(self) -> bool:
        """Whether rows that share a prefix are neighbours, which makes attention to it faster."""
        return all(x.is_sorted for x in self.prefixes)

    def sorted_rows(self, rows: Tensor) -> Tensor:
        """Return the same rows with those that share a prefix as neighbours."""
        return rows[self.prefixes[-1].prefix_N[rows].argsort(stable=True)] if self.prefixes else rows

    def begin_step(self) -> Tensor:
        """Reserve room for the next token. Return its positions [N, 1]."""
        self._reserve(len(self), max(self.least, self.row_tokens(1)))
        shortest, longest = (int(length) for length in self.lengths_N.aminmax())
        self.used = max(self.least, self.sampled_from + round_up(longest + 1, ALIGN))
        # One index where all rows write to the same place: a slice is written much faster.
        self.same_place = self.sampled_from + longest if shortest == longest else None
        self.rows = torch.arange(len(self), device=self.lengths_N.device)
        self.places_N = self.sampled_from + self.lengths_N
        self.mask: Tensor | None = None
        return (self.starts_N + self.lengths_N)[:, None]

    def _additive_mask(self) -> Tensor:
        """Return the mask of a step [N, 1, 1, all L and C]."""
        positions = torch.arange(self.used, device=self.lengths_N.device)
        sees_own = positions <= self.places_N[:, None]
        if self.sampled_from:
            sees_own &= (positions < self.own_prompt_N[:, None]) | (positions >= self.sampled_from)
        visible = torch.cat([*(x.visible_NL for x in self.prefixes), sees_own], dim=1)
        mask = torch.zeros(visible.shape, dtype=self.own_k[0].dtype, device=visible.device)
        return mask.masked_fill_(~visible, -torch.inf)[:, None, None]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k and v [N, K, 1, E] and attend with q [N, H, 1, E]: one softmax over prefixes and own tokens."""
        rows, heads, _, width = q.shape
        kv_heads = k.shape[1]
        own_k, own_v = self.own_k[layer][:rows], self.own_v[layer][:rows]
        for own, new in ((own_k, k), (own_v, v)):
            if self.same_place is None:
                own[self.rows, :, self.places_N] = new[:, :, 0]
            else:
                own[:, :, self.same_place] = new[:, :, 0]
        q = (q * width**-0.5).reshape(rows, kv_heads, heads // kv_heads, width)
        own_scores = q @ own_k[:, :, : self.used].transpose(-1, -2)
        scores = [*(x.scores(layer, q) for x in self.prefixes), own_scores]
        self.mask = self._additive_mask() if self.mask is None else self.mask
        weights = torch.softmax(torch.cat(scores, dim=-1).add_(self.mask), dim=-1)
        *prefix_weights, own_weights = torch.split_with_sizes(weights, [x.shape[-1] for x in scores], dim=-1)
        mixed: Tensor = own_weights @ own_v[:, :, : self.used]
        for prefix, part in zip(self.prefixes, prefix_weights, strict=True):
            mixed += prefix.mix(layer, part)
        return mixed.reshape(rows, heads, 1, width)

    def end_step(self) -> None:
        """Count the token that all layers have stored."""
        self.lengths_N = self.lengths_N + 1
        self.step = None

    def copy(self, rows: Tensor, to: Tensor, max_rows: int) -> None:
        """Copy rows over others or behind the last, in a cache that may grow to `max_rows`."""
        self._reserve(max_rows, self.row_tokens(0))
        kept = slice(None if self.reads_capacity else self.row_tokens(0))
        for x in (*self.own_k, *self.own_v):
            x[to, :, kept] = x[rows, :, kept]
        for prefix in self.prefixes:
            prefix.copy(rows, to)
        self._set_rows(*(copy_rows(x, rows, to) for x in self._per_row()))

    def select(self, rows: Tensor, max_rows: int = 0) -> None:
        """Keep these rows, in this order; indices may repeat. Make room for `max_rows`, if these are more."""
        used = self.sampled_from + round_up(int(self.lengths_N[rows].max()), ALIGN)
        room = max(len(rows), max_rows)
        self._move(rows, used, room, self._capacity(room, used))
        for prefix in self.prefixes:
            prefix.select(rows)
        self._set_rows(*(x[rows] for x in self._per_row()))

    def extend(self, other: KVCache) -> None:
        """Append another cache's rows. Both have the same number of prefixes per row and the same `sampled_from`.

        Done a layer at a time, so that not all layers are in memory twice.
        """
        ours, used = slice(len(self), len(self) + len(other)), other.row_tokens(0)
        self._reserve(ours.stop, max(used, self.row_tokens(0)))
        for mine, others in ((self.own_k, other.own_k), (self.own_v, other.own_v)):
            for x, y in zip(mine, others, strict=True):
                x[ours, :, :used] = y[: len(other), :, :used]
                if self.reads_capacity:
                    x[ours, :, used:] = 0
        for prefix, other_prefix in zip(self.prefixes, other.prefixes, strict=True):
            prefix.extend(other_prefix)
        self._set_rows(*(torch.cat(pair) for pair in zip(self._per_row(), other._per_row(), strict=True)))

    def _per_row(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.starts_N, self.own_prompt_N, self.lengths_N

    def _set_rows(self, starts_N: Tensor, own_prompt_N: Tensor, lengths_N: Tensor) -> None:
        self.starts_N, self.own_prompt_N, self.lengths_N = starts_N, own_prompt_N, lengths_N

    def _reserve(self, rows: int, tokens: int) -> None:
        """Make room for `rows` rows of `tokens` tokens."""
        have_rows, _, have_tokens, _ = self.own_k[0].shape
        if rows > have_rows or tokens > have_tokens:
            room = max(rows, have_rows)
            capacity = have_tokens if tokens <= have_tokens else self._capacity(room, tokens)
            self._move(slice(len(self)), self.row_tokens(0), room, capacity)

    def _move(self, rows: Tensor | slice, used: int, room: int, capacity: int) -> None:
        """Move the `used` tokens of these rows to memory for `room` rows of `capacity` tokens, a layer at a time."""
        for own in (self.own_k, self.own_v):
            for layer, x_NKCE in enumerate(own):
                moved = x_NKCE[rows, :, :used]
                if self.reads_capacity:
                    own[layer] = grown(moved, room, capacity)
                else:
                    own[layer] = _uninitialized((room, moved.shape[1], capacity, moved.shape[3]), moved.dtype)
                    own[layer][: len(moved), :, :used] = moved

    def _capacity(self, rows: int, tokens: int) -> int:
        """Return for how many tokens of a row to allocate memory, if it must hold `tokens`.

        For products, not more: where tokens fill the memory, they read it contiguously. It then grows by ALIGN tokens
        at a time, and the copies cost an ALIGN-th of those reads. For kernels, for all tokens that a row may come to
        hold, since memory that nothing has written to is not resident. Where that is too much to ask for, or not known,
        it is twice the tokens.
        """
        if self.reads_capacity:
            return tokens
        if self.most is None:
            return 2 * tokens
        kv_heads, width = self.own_k[0].shape[1::2]
        bytes_of_token = 2 * len(self.own_k) * rows * kv_heads * width * self.own_k[0].itemsize
        fits = self.most * bytes_of_token <= RESERVED_SHARE * allocatable_memory()
        return max(tokens, self.most if fits else min(2 * tokens, self.most))


def _uninitialized(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return memory from NumPy. For torch's aligned requests, glibc before 2.38 does not use a freed block again."""
    return torch.from_numpy(np.empty(math.prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)
