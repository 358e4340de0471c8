"""Keys and values of what is being written, with each prompt's share held once for its whole group.

Shapes: N rows (distinct beginnings of answers), P prompts, S lanes (most rows of one prompt), H query heads, K key-value heads,
E head width, L padded prompt length, C capacity for own tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from r1kit.model.attention import aligned

# Capacities and prompt lengths are multiples of this, so that a row's sums do not depend on its neighbours' lengths.
ALIGN = 16


class Cache:
    """The attention of one decode step, and the memory behind it. Rows join and leave between blocks of steps."""

    def __init__(self, prompt_k: list[Tensor], prompt_v: list[Tensor], prompt_lengths_P: Tensor, row_prompt_N: Tensor):
        kv_heads, width = prompt_k[0].shape[1], prompt_k[0].shape[3]
        self.prompt_k, self.prompt_v = prompt_k, prompt_v  # per layer [P, K, L, E]
        self.prompt_lengths_P = prompt_lengths_P
        self.row_prompt_N = row_prompt_N  # which prompt each row continues
        nothing = prompt_k[0].new_zeros(len(row_prompt_N), kv_heads, 0, width)
        self.own_k, self.own_v = [nothing] * len(prompt_k), [nothing] * len(prompt_k)  # per layer [N, K, C, E]
        self.lengths_N = torch.zeros_like(row_prompt_N)  # own tokens so far
        self._index_lanes()

    def __len__(self) -> int:
        return len(self.row_prompt_N)

    def _index_lanes(self) -> None:
        """Where each row stands in the [P, S] grid in which a prompt meets all its rows, and what it sees of it."""
        by_prompt_N, order_N = self.row_prompt_N.sort(stable=True)
        counts = torch.bincount(by_prompt_N, minlength=len(self.prompt_lengths_P))
        starts = counts.cumsum(0) - counts
        self.rows = torch.arange(len(order_N), device=order_N.device)
        self.lanes = int(counts.max())
        self.grid_N = torch.empty_like(order_N)
        self.grid_N[order_N] = by_prompt_N * self.lanes + self.rows - starts[by_prompt_N]
        self.in_order = torch.equal(order_N, self.rows)  # rows of one prompt are neighbours
        self.grid_is_full = self.in_order and len(order_N) == len(counts) * self.lanes  # then it is a view of the rows
        prompt_positions = torch.arange(self.prompt_k[0].shape[2], device=order_N.device)
        self.sees_prompt_NL = prompt_positions < self.prompt_lengths_P[self.row_prompt_N, None]

    def copy(self, rows: Tensor, to: Tensor, most: int) -> None:
        """Copy some rows over others or behind the last, for a cache that may come to have `most` of them."""
        self._reserve(most, 0)
        behind = self.lengths_N.new_zeros(max(0, int(to.max()) + 1 - len(self)))
        self.row_prompt_N, self.lengths_N = (torch.cat((x, behind)) for x in (self.row_prompt_N, self.lengths_N))
        for x in (self.row_prompt_N, self.lengths_N, *self.own_k, *self.own_v):
            x[to] = x[rows]
        self._index_lanes()

    def _reserve(self, rows: int, tokens: int) -> None:
        """Make room for so many rows, and for `tokens` more in each.

        And for no more tokens: where those fill the memory, products read it as it lies. The copies cost an ALIGN-th
        of those reads; a layer at a time, they hold little beside it.
        """
        have_rows, _, have_tokens, _ = self.own_k[0].shape
        need_tokens = aligned(int(self.lengths_N.max()) + tokens, ALIGN)
        if rows > have_rows or need_tokens > have_tokens:
            for own in (self.own_k, self.own_v):
                for layer, x in enumerate(own):
                    own[layer] = _larger(x[: len(self)], max(rows, have_rows), max(need_tokens, have_tokens))

    def begin_step(self) -> Tensor:
        """Make room for the next token and fix its masks. Returns its positions [N, 1]."""
        self._reserve(len(self), 1)
        shortest, longest = (int(length) for length in self.lengths_N.aminmax())
        self.used = aligned(longest + 1, ALIGN)
        self.same_length = longest if shortest == longest else None  # of all rows: a slice is written much faster
        own_positions = torch.arange(self.used, device=self.lengths_N.device)
        visible = torch.cat((self.sees_prompt_NL, own_positions <= self.lengths_N[:, None]), dim=1)
        shown = torch.zeros(visible.shape, dtype=self.prompt_k[0].dtype, device=visible.device)
        self.mask = shown.masked_fill_(~visible, -torch.inf)[:, None, None]  # [N, 1, 1, L + C]
        return (self.prompt_lengths_P[self.row_prompt_N] + self.lengths_N)[:, None]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [N, H, 1, E], k and v [N, K, 1, E] -> [N, H, 1, E]: softmax over the shared prompt and the row's own."""
        rows, heads, _, width = q.shape
        kv_heads = k.shape[1]
        own_k, own_v = self.own_k[layer][:rows], self.own_v[layer][:rows]
        for own, new in ((own_k, k), (own_v, v)):
            if self.same_length is None:
                own[self.rows, :, self.lengths_N] = new[:, :, 0]
            else:
                own[:, :, self.same_length] = new[:, :, 0]
        q = (q * width**-0.5).reshape(rows, kv_heads, heads // kv_heads, width)
        own = q @ own_k[:, :, : self.used].transpose(-1, -2)
        prompt_scores = self._to_grid(q) @ self.prompt_k[layer].transpose(-1, -2)
        scores = torch.cat((self._from_grid(prompt_scores, rows), own), dim=-1).add_(self.mask)
        weights = torch.softmax(scores, dim=-1)
        on_prompt, on_own = weights.split((self.prompt_k[layer].shape[2], self.used), dim=-1)
        mixed = on_own @ own_v[:, :, : self.used]
        mixed += self._from_grid(self._to_grid(on_prompt) @ self.prompt_v[layer], rows)
        return mixed.reshape(rows, heads, 1, width)

    def _to_grid(self, x_NKGX: Tensor) -> Tensor:
        """[N, K, H/K, X] -> [P, K, S * H/K, X]; lanes without a row stay zero."""
        _, kv_heads, group, last = x_NKGX.shape
        grid = x_NKGX
        if not self.grid_is_full:
            grid = x_NKGX.new_zeros(len(self.prompt_lengths_P) * self.lanes, kv_heads, group, last)
            grid[self.grid_N] = x_NKGX
        return grid.unflatten(0, (-1, self.lanes)).transpose(1, 2).flatten(2, 3)

    def _from_grid(self, grid: Tensor, rows: int) -> Tensor:
        """[P, K, S * H/K, X] -> [N, K, H/K, X]"""
        rows_first = grid.unflatten(2, (self.lanes, -1)).transpose(1, 2).flatten(0, 1)
        return rows_first if self.grid_is_full else rows_first[self.grid_N]

    def end_step(self) -> None:
        self.lengths_N = self.lengths_N + 1

    def keep(self, rows: Tensor) -> None:
        """Become these rows (indices, any number of times each), and forget prompts that no row continues."""
        prompts, self.row_prompt_N = torch.unique(self.row_prompt_N[rows], return_inverse=True)
        self.prompt_k, self.prompt_v = ([x[prompts] for x in xs] for xs in (self.prompt_k, self.prompt_v))
        self.prompt_lengths_P = self.prompt_lengths_P[prompts]
        self.lengths_N = self.lengths_N[rows]
        used = aligned(int(self.lengths_N.max()), ALIGN)
        for own in (self.own_k, self.own_v):
            for layer, x in enumerate(own):
                own[layer] = x[rows, :, :used]
        self._index_lanes()

    def join(self, other: Cache) -> None:
        """Append another cache's rows and prompts."""
        rows = len(self), len(other)
        self.own_k, self.own_v = (
            _stack(*([x[:n] for x in xs] for xs, n in zip(pair, rows, strict=True)))
            for pair in ((self.own_k, other.own_k), (self.own_v, other.own_v))
        )
        self.row_prompt_N = torch.cat((self.row_prompt_N, other.row_prompt_N + len(self.prompt_lengths_P)))
        self.prompt_lengths_P = torch.cat((self.prompt_lengths_P, other.prompt_lengths_P))
        self.lengths_N = torch.cat((self.lengths_N, other.lengths_N))
        self.prompt_k, self.prompt_v = _stack(self.prompt_k, other.prompt_k), _stack(self.prompt_v, other.prompt_v)
        self._index_lanes()


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
