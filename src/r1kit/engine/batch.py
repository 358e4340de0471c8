"""The completions that are being written together, and which of them are still the same.

Shapes: R drafts (completions being written), N rows (what differs among them), D model width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from r1kit.engine.cache import Cache

# The cache is put in order when this share of its rows is idle or new; that costs a copy of it.
TIDY_SHARE = 0.2


@dataclass(slots=True)
class Draft:
    """One completion being written."""

    request: int
    prompt_id: str
    sample: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class Batch:
    """The drafts that are written together. Those of a prompt are one row, computed once, until they differ."""

    def __init__(self, drafts: list[Draft], keys_R: Tensor, row_R: Tensor, hidden_ND: Tensor, cache: Cache):
        self.drafts, self.keys_R, self.row_R, self.hidden_ND, self.cache = drafts, keys_R, row_R, hidden_ND, cache
        self.done_R = torch.zeros_like(row_R, dtype=torch.bool)
        self.all_differ = False

    def part(self, token_R: Tensor) -> Tensor:
        """[N] the next token of every row. Drafts of one row that drew different tokens get a row for each."""
        if not self.all_differ:
            live = (~self.done_R).nonzero().squeeze(1)
            pairs, pair_of = torch.unique(self.row_R[live] << 32 | token_R[live], return_inverse=True)
            self.row_R = torch.zeros_like(self.row_R).index_copy_(0, live, self._places(pairs >> 32)[pair_of])
            self.all_differ = len(pairs) == len(live)
        rows = len(self.cache)
        kept_R = self.row_R.where(~self.done_R, rows)  # what finished drafts drew goes nowhere
        return token_R.new_zeros(rows + 1).scatter_(0, kept_R, token_R)[:rows]

    def _places(self, row: Tensor) -> Tensor:
        """Where rows go, given in order and once for each part: the first part stays, the others are copies."""
        is_copy = row.diff(prepend=row.new_full((1,), -1)) == 0
        copied = row[is_copy]
        if len(copied) == 0:
            return row
        if len(copied) > TIDY_SHARE * len(self.cache):
            self.cache.keep(row)
            return torch.arange(len(row), device=row.device)
        is_free = torch.ones(len(self.cache) + len(copied), dtype=torch.bool, device=row.device)
        is_free[row] = False
        free = is_free.nonzero().squeeze(1)[: len(copied)]
        self.cache.copy(copied, free, most=len(self.drafts))
        return row.masked_scatter(is_copy, free)

    def drop_done(self) -> None:
        """Forget finished drafts, and put the cache in order where that is worth a copy of it."""
        live = (~self.done_R).nonzero().squeeze(1)
        self.drafts = [self.drafts[i] for i in live.tolist()]
        self.keys_R, self.row_R, self.done_R = self.keys_R[live], self.row_R[live], self.done_R[live]
        rows, row_of = self.row_R.unique(return_inverse=True)
        if len(rows) <= (1 - TIDY_SHARE) * len(self.cache) or (self.all_differ and not self.cache.in_order):
            kept = self.cache.ordered(rows)
            self.cache.keep(kept)
            self.hidden_ND, self.row_R = self.hidden_ND[kept], kept.argsort()[row_of]

    def join(self, other: Batch) -> None:
        self.drafts += other.drafts
        self.keys_R = torch.cat((self.keys_R, other.keys_R))
        self.row_R = torch.cat((self.row_R, other.row_R + len(self.cache)))
        self.done_R = torch.cat((self.done_R, other.done_R))
        self.hidden_ND = torch.cat((self.hidden_ND, other.hidden_ND))
        self.cache.join(other.cache)
        self.all_differ = False
