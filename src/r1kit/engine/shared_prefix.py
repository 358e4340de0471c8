"""Keys and values of prefixes that several rows of the KV cache share.

Shapes as in `engine.cache`.
"""

from __future__ import annotations

import torch
from torch import Tensor


class SharedPrefix:
    """Prefixes shared by rows, and the attention of all rows to theirs.

    All rows of a prefix attend to it in one product: queries are arranged in a grid [P, S], whose slots beyond a
    prefix's own rows stay zero.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor], lengths_P: Tensor, prefix_N: Tensor) -> None:
        self.keys, self.values = keys, values  # per layer [P, K, L, E]
        self.lengths_P = lengths_P
        self.prefix_N = prefix_N  # the prefix of each row
        self._index_grid()

    def _index_grid(self) -> None:
        """Assign every row its slot in the grid, and compute which keys it sees."""
        sorted_prefix_N, order_N = self.prefix_N.sort(stable=True)
        counts = torch.bincount(sorted_prefix_N, minlength=len(self.lengths_P))
        starts = counts.cumsum(0) - counts
        rows = torch.arange(len(order_N), device=order_N.device)
        self.slots = int(counts.max())
        self.slot_N = torch.empty_like(order_N)
        self.slot_N[order_N] = sorted_prefix_N * self.slots + rows - starts[sorted_prefix_N]
        self.is_sorted = torch.equal(order_N, rows)  # rows of one prefix are neighbours
        self.grid_is_full = self.is_sorted and len(order_N) == len(counts) * self.slots  # then it is a view of the rows
        self.length_N = self.lengths_P[self.prefix_N]
        positions = torch.arange(self.keys[0].shape[2], device=order_N.device)
        self.visible_NL = positions < self.length_N[:, None]

    def scores(self, layer: int, q_NKGE: Tensor) -> Tensor:
        """Return unmasked attention scores [N, K, G, L]."""
        return self._from_grid(self._to_grid(q_NKGE) @ self.keys[layer].transpose(-1, -2))

    def mix(self, layer: int, weights_NKGL: Tensor) -> Tensor:
        """Return the weighted sum of values [N, K, G, E]."""
        return self._from_grid(self._to_grid(weights_NKGL) @ self.values[layer])

    def _to_grid(self, x_NKGX: Tensor) -> Tensor:
        """[N, K, G, X] -> [P, K, S * G, X]."""
        _, kv_heads, group, last = x_NKGX.shape
        grid = x_NKGX
        if not self.grid_is_full:
            grid = x_NKGX.new_zeros(len(self.lengths_P) * self.slots, kv_heads, group, last)
            grid[self.slot_N] = x_NKGX
        return torch.unflatten(grid, 0, (-1, self.slots)).transpose(1, 2).flatten(2, 3)

    def _from_grid(self, grid: Tensor) -> Tensor:
        """[P, K, S * G, X] -> [N, K, G, X]."""
        rows_first = torch.unflatten(grid, 2, (self.slots, -1)).transpose(1, 2).flatten(0, 1)
        return rows_first if self.grid_is_full else rows_first[self.slot_N]

    def copy(self, rows: Tensor, to: Tensor) -> None:
        """Copy rows over others or behind the last."""
        self.prefix_N = copy_rows(self.prefix_N, rows, to)
        self._index_grid()

    def select(self, rows: Tensor) -> None:
        """Keep these rows, and only the prefixes that they continue."""
        kept, self.prefix_N = torch.unique(self.prefix_N[rows], return_inverse=True)
        if len(kept) < len(self.lengths_P):
            self.keys, self.values = ([x[kept] for x in xs] for xs in (self.keys, self.values))
            self.lengths_P = self.lengths_P[kept]
        self._index_grid()

    def extend(self, other: SharedPrefix) -> None:
        """Append the rows of `other`, and its prefixes unless both share them."""
        if other.keys is self.keys:
            self.prefix_N = torch.cat((self.prefix_N, other.prefix_N))
        else:
            self.prefix_N = torch.cat((self.prefix_N, other.prefix_N + len(self.lengths_P)))
            self.lengths_P = torch.cat((self.lengths_P, other.lengths_P))
            self.keys, self.values = stack(self.keys, other.keys), stack(self.values, other.values)
        self._index_grid()


def copy_rows(x_N: Tensor, rows: Tensor, to: Tensor) -> Tensor:
    """Return `x_N` with some of its rows copied over others or behind the last."""
    appended = x_N.new_zeros(max(0, int(to.max()) + 1 - len(x_N)))
    return torch.cat((x_N, appended)).index_copy_(0, to, x_N[rows])


def stack(first: list[Tensor], second: list[Tensor]) -> list[Tensor]:
    """Concatenate the rows of two caches layer by layer, the shorter token dimension padded with zeros."""
    length = max(first[0].shape[2], second[0].shape[2])
    return [torch.cat([grown(x, len(x), length) for x in pair]) for pair in zip(first, second, strict=True)]


def grown(x: Tensor, rows: int, tokens: int) -> Tensor:
    """[N, K, C, E] -> [rows, K, tokens, E], zero behind a row's own tokens. `F.pad` would write everything twice."""
    if x.shape[::2] == (rows, tokens):
        return x
    larger = x.new_empty(rows, x.shape[1], tokens, x.shape[3])
    larger[: len(x), :, : x.shape[2]] = x
    larger[: len(x), :, x.shape[2] :] = 0
    return larger
