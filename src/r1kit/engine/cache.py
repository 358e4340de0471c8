"""Keys and values of what is being written. What several rows begin with is held once for all of them.

Shapes: N rows (distinct beginnings of answers), P beginnings shared by rows, S lanes (most rows of one), H query heads,
K key-value heads, G = H / K, E head width, L padded length of a shared beginning, C capacity for a row's own tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from r1kit.model.attention import aligned

# Capacities and prompt lengths are multiples of this, so that a row's sums do not depend on its neighbours' lengths.
ALIGN = 16


class Shared:
    """Beginnings that several rows have in common, and the attention of all rows to theirs."""

    def __init__(self, keys: list[Tensor], values: list[Tensor], lengths_P: Tensor, of_N: Tensor):
        self.keys, self.values = keys, values  # per layer [P, K, L, E]
        self.lengths_P = lengths_P
        self.of_N = of_N  # which one each row continues
        self._index_lanes()

    def _index_lanes(self) -> None:
        """Where each row stands in the [P, S] grid in which a beginning meets all its rows, and what it sees of it."""
        by_beginning_N, order_N = self.of_N.sort(stable=True)
        counts = torch.bincount(by_beginning_N, minlength=len(self.lengths_P))
        starts = counts.cumsum(0) - counts
        rows = torch.arange(len(order_N), device=order_N.device)
        self.lanes = int(counts.max())
        self.grid_N = torch.empty_like(order_N)
        self.grid_N[order_N] = by_beginning_N * self.lanes + rows - starts[by_beginning_N]
        self.in_order = torch.equal(order_N, rows)  # rows of one beginning are neighbours
        self.grid_is_full = self.in_order and len(order_N) == len(counts) * self.lanes  # then it is a view of the rows
        positions = torch.arange(self.keys[0].shape[2], device=order_N.device)
        self.sees_NL = positions < self.lengths_P[self.of_N, None]

    def scores(self, layer: int, q_NKGE: Tensor) -> Tensor:
        """[N, K, G, L]"""
        return self._from_grid(self._to_grid(q_NKGE) @ self.keys[layer].transpose(-1, -2))

    def mix(self, layer: int, weights_NKGL: Tensor) -> Tensor:
        """[N, K, G, E]"""
        return self._from_grid(self._to_grid(weights_NKGL) @ self.values[layer])

    def _to_grid(self, x_NKGX: Tensor) -> Tensor:
        """[N, K, G, X] -> [P, K, S * G, X]; lanes without a row stay zero."""
        _, kv_heads, group, last = x_NKGX.shape
        grid = x_NKGX
        if not self.grid_is_full:
            grid = x_NKGX.new_zeros(len(self.lengths_P) * self.lanes, kv_heads, group, last)
            grid[self.grid_N] = x_NKGX
        return grid.unflatten(0, (-1, self.lanes)).transpose(1, 2).flatten(2, 3)

    def _from_grid(self, grid: Tensor) -> Tensor:
        """[P, K, S * G, X] -> [N, K, G, X]"""
        rows_first = grid.unflatten(2, (self.lanes, -1)).transpose(1, 2).flatten(0, 1)
        return rows_first if self.grid_is_full else rows_first[self.grid_N]

    def copy(self, rows: Tensor, to: Tensor) -> None:
        self.of_N = _copied(self.of_N, rows, to)
        self._index_lanes()

    def keep(self, rows: Tensor) -> None:
        """Forget what none of these rows continues."""
        kept, self.of_N = torch.unique(self.of_N[rows], return_inverse=True)
        if len(kept) < len(self.lengths_P):
            self.keys, self.values = ([x[kept] for x in xs] for xs in (self.keys, self.values))
            self.lengths_P = self.lengths_P[kept]
        self._index_lanes()

    def join(self, other: Shared) -> None:
        if other.keys is self.keys:  # the same beginnings
            self.of_N = torch.cat((self.of_N, other.of_N))
        else:
            self.of_N = torch.cat((self.of_N, other.of_N + len(self.lengths_P)))
            self.lengths_P = torch.cat((self.lengths_P, other.lengths_P))
            self.keys, self.values = _stack(self.keys, other.keys), _stack(self.values, other.values)
        self._index_lanes()


class Cache:
    """The attention of one decode step, and the memory behind it. Rows part, join and leave between steps."""

    def __init__(self, shared: list[Shared], own_k: list[Tensor], own_v: list[Tensor], starts_N: Tensor):
        self.shared = shared  # what rows begin with, first to last
        self.own_k, self.own_v = own_k, own_v  # per layer [N, K, C, E]: the rest of the prompt, then what is written
        self.written_from = own_k[0].shape[2]
        self.starts_N = starts_N  # the position of a row's first written token
        self.rest_N = starts_N - sum(x.lengths_P[x.of_N] for x in shared)  # own tokens that belong to the prompt
        self.lengths_N = torch.zeros_like(starts_N)  # tokens written so far

    def __len__(self) -> int:
        return len(self.lengths_N)

    @property
    def in_order(self) -> bool:
        """Whether rows that share a beginning are neighbours; then they meet it faster."""
        return all(x.in_order for x in self.shared)

    def ordered(self, rows: Tensor) -> Tensor:
        """The same rows, those that share a beginning as neighbours."""
        return rows[self.shared[-1].of_N[rows].argsort(stable=True)] if self.shared else rows

    def begin_step(self) -> Tensor:
        """Make room for the next token and fix its masks. Returns its positions [N, 1]."""
        self._reserve(len(self), 1)
        shortest, longest = (int(length) for length in self.lengths_N.aminmax())
        self.used = self.written_from + aligned(longest + 1, ALIGN)
        # Of all rows, where that is so: a slice is written much faster.
        self.same_place = self.written_from + longest if shortest == longest else None
        self.rows, self.places_N = (
            torch.arange(len(self), device=self.lengths_N.device),
            self.written_from + self.lengths_N,
        )
        positions = torch.arange(self.used, device=self.lengths_N.device)
        sees_own = positions <= self.places_N[:, None]
        if self.written_from:
            sees_own &= (positions < self.rest_N[:, None]) | (positions >= self.written_from)
        visible = torch.cat([*(x.sees_NL for x in self.shared), sees_own], dim=1)
        shown = torch.zeros(visible.shape, dtype=self.own_k[0].dtype, device=visible.device)
        self.mask = shown.masked_fill_(~visible, -torch.inf)[:, None, None]  # [N, 1, 1, all L and C]
        return (self.starts_N + self.lengths_N)[:, None]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [N, H, 1, E], k and v [N, K, 1, E] -> [N, H, 1, E]: one softmax over what is shared and the row's own."""
        rows, heads, _, width = q.shape
        kv_heads = k.shape[1]
        own_k, own_v = self.own_k[layer][:rows], self.own_v[layer][:rows]
        for own, new in ((own_k, k), (own_v, v)):
            if self.same_place is None:
                own[self.rows, :, self.places_N] = new[:, :, 0]
            else:
                own[:, :, self.same_place] = new[:, :, 0]
        q = (q * width**-0.5).reshape(rows, kv_heads, heads // kv_heads, width)
        own = q @ own_k[:, :, : self.used].transpose(-1, -2)
        scores = [*(x.scores(layer, q) for x in self.shared), own]
        weights = torch.softmax(torch.cat(scores, dim=-1).add_(self.mask), dim=-1)
        *on_shared, on_own = weights.split([x.shape[-1] for x in scores], dim=-1)
        mixed = on_own @ own_v[:, :, : self.used]
        for x, on in zip(self.shared, on_shared, strict=True):
            mixed += x.mix(layer, on)
        return mixed.reshape(rows, heads, 1, width)

    def end_step(self) -> None:
        self.lengths_N = self.lengths_N + 1

    def copy(self, rows: Tensor, to: Tensor, most: int) -> None:
        """Copy some rows over others or behind the last, for a cache that may come to have `most` of them."""
        self._reserve(most, 0)
        for x in (*self.own_k, *self.own_v):
            x[to] = x[rows]
        for shared in self.shared:
            shared.copy(rows, to)
        self._set_rows(*(_copied(x, rows, to) for x in self._per_row()))

    def keep(self, rows: Tensor) -> None:
        """Become these rows: indices, any number of times each."""
        used = self.written_from + aligned(int(self.lengths_N[rows].max()), ALIGN)
        for own in (self.own_k, self.own_v):
            for layer, x in enumerate(own):
                own[layer] = x[rows, :, :used]
        for shared in self.shared:
            shared.keep(rows)
        self._set_rows(*(x[rows] for x in self._per_row()))

    def join(self, other: Cache) -> None:
        """Append another cache's rows. It has as many kinds of shared beginnings, and the same room for the rest."""
        ours, theirs = len(self), len(other)
        self.own_k, self.own_v = (
            _stack([x[:ours] for x in some], [x[:theirs] for x in others])
            for some, others in ((self.own_k, other.own_k), (self.own_v, other.own_v))
        )
        for some, others in zip(self.shared, other.shared, strict=True):
            some.join(others)
        self._set_rows(*(torch.cat(pair) for pair in zip(self._per_row(), other._per_row(), strict=True)))

    def _per_row(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.starts_N, self.rest_N, self.lengths_N

    def _set_rows(self, starts_N: Tensor, rest_N: Tensor, lengths_N: Tensor) -> None:
        self.starts_N, self.rest_N, self.lengths_N = starts_N, rest_N, lengths_N

    def _reserve(self, rows: int, tokens: int) -> None:
        """Make room for so many rows, and for `tokens` more in each.

        And for no more tokens: where those fill the memory, products read it as it lies. The copies cost an ALIGN-th
        of those reads; a layer at a time, they hold little beside it.
        """
        have_rows, _, have_tokens, _ = self.own_k[0].shape
        need_tokens = self.written_from + aligned(int(self.lengths_N.max()) + tokens, ALIGN)
        if rows > have_rows or need_tokens > have_tokens:
            for own in (self.own_k, self.own_v):
                for layer, x in enumerate(own):
                    own[layer] = _larger(x[: len(self)], max(rows, have_rows), max(need_tokens, have_tokens))


def _copied(x_N: Tensor, rows: Tensor, to: Tensor) -> Tensor:
    """`x_N` with some of its rows copied over others or behind the last."""
    behind = x_N.new_zeros(max(0, int(to.max()) + 1 - len(x_N)))
    return torch.cat((x_N, behind)).index_copy_(0, to, x_N[rows])


def _stack(some: list[Tensor], others: list[Tensor]) -> list[Tensor]:
    """Layer by layer, the rows of both, after padding the shorter ones' tokens with zeros."""
    length = max(some[0].shape[2], others[0].shape[2])
    return [torch.cat([_larger(x, len(x), length) for x in pair]) for pair in zip(some, others, strict=True)]


def _larger(x: Tensor, rows: int, tokens: int) -> Tensor:
    """[N, K, C, E] -> [rows, K, tokens, E], zeros behind a row's own tokens; `F.pad` would write all of it twice."""
    larger = x.new_empty(rows, x.shape[1], tokens, x.shape[3])
    larger[: len(x), :, : x.shape[2]] = x
    larger[: len(x), :, x.shape[2] :] = 0
    return larger
