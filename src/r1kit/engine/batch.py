"""The completions that are decoded together, and which of them are still identical.

Shapes: R completions, N cache rows (distinct token sequences among them), D model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from r1kit.engine.cache import KVCache
from r1kit.engine.stops import stop_length

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from r1kit.model.decoder import Decoder

# Compact the cache when this share of its rows is unused or new. Compacting copies the cache.
COMPACT_SHARE = 0.2


@dataclass(slots=True)
class PartialCompletion:
    """A completion being sampled."""

    request: int
    prompt_id: str
    sample: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    at_stop_string: bool = False  # the last token completes a stop string

    def extend(
        self,
        token_ids: Sequence[int],
        logprobs: Sequence[float],
        stop: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
    ) -> int:
        """Add sampled tokens up to the first stop string. Return how many were added."""
        before = len(self.token_ids)
        self.token_ids += token_ids
        self.logprobs += logprobs
        if (length := stop_length(self.token_ids, before, stop, tokenizer)) is not None:
            del self.token_ids[length:], self.logprobs[length:]
            self.at_stop_string = True
        return len(self.token_ids) - before


class Batch:
    """Completions decoded together. Those of one prompt share a cache row until their tokens differ."""

    def __init__(
        self, completions: list[PartialCompletion], keys_R: Tensor, row_R: Tensor, hidden_ND: Tensor, cache: KVCache
    ) -> None:
        self.completions = completions
        self.keys_R = keys_R  # random keys, see engine.sampler
        self.row_R = row_R  # the cache row of each completion
        self.hidden_ND, self.cache = hidden_ND, cache
        self.done_R = torch.zeros_like(row_R, dtype=torch.bool)
        self.all_differ = False  # every unfinished completion has a row of its own

    @property
    def lengths_R(self) -> Tensor:
        """Tokens of every completion, as the cache counts them."""
        return self.cache.lengths_N[self.row_R]

    def size(self, steps: int) -> tuple[int, int]:
        """Return the rows of the cache, and the tokens of each after `steps` more."""
        return max(self.cache.allocated_rows, len(self.completions)), self.cache.row_tokens(steps)

    def widen(self, rows: int) -> None:
        """Add unused rows to a cache that has fewer than `rows`."""
        if len(self.cache) < rows:
            repeated = torch.arange(rows, device=self.row_R.device) % len(self.cache)
            self.cache.select(repeated)
            self.hidden_ND = self.hidden_ND[repeated]

    def advance(self, model: Decoder, token_R: Tensor) -> None:
        """Append a token to every unfinished completion and compute the hidden states behind them."""
        token_N = self.split_rows(token_R)
        positions_N1 = self.cache.begin_step()
        self.hidden_ND = model(token_N[:, None], positions_N1, self.cache)[:, 0]
        self.cache.end_step()

    def split_rows(self, token_R: Tensor) -> Tensor:
        """Return the next token [N] of every row. Rows whose completions sampled different tokens are split."""
        if not self.all_differ:
            live = (~self.done_R).nonzero().squeeze(1)
            pairs, pair_of = torch.unique(self.row_R[live] << 32 | token_R[live], return_inverse=True)
            self.row_R = torch.zeros_like(self.row_R).index_copy_(0, live, self._assign_rows(pairs >> 32)[pair_of])
            self.all_differ = len(pairs) == len(live)
        rows = len(self.cache)
        target_R = self.row_R.where(~self.done_R, rows)  # tokens of finished completions go to a spare row
        return token_R.new_zeros(rows + 1).scatter_(0, target_R, token_R)[:rows]

    def _assign_rows(self, row: Tensor) -> Tensor:
        """Return the new row of every branch, given its current row in ascending order, repeated for each branch.

        The first branch of a row keeps it; the others get copies.
        """
        is_copy = row.diff(prepend=row.new_full((1,), -1)) == 0
        copied = row[is_copy]
        if len(copied) == 0:
            return row
        if len(copied) > COMPACT_SHARE * len(self.cache):
            self.cache.select(row, max_rows=len(self.completions))
            return torch.arange(len(row), device=row.device)
        is_free = torch.ones(len(self.cache) + len(copied), dtype=torch.bool, device=row.device)
        is_free[row] = False
        free = is_free.nonzero().squeeze(1)[: len(copied)]
        self.cache.copy(copied, free, max_rows=len(self.completions))
        return row.masked_scatter(is_copy, free)

    def interrupt_shortest(self, kept: int) -> list[PartialCompletion]:
        """Remove all but the `kept` longest completions, and compact the cache. Return them, the longest first."""
        order = self.lengths_R.argsort(descending=True, stable=True).tolist()
        return self.remove(order[kept:])

    def remove(self, indices: Sequence[int]) -> list[PartialCompletion]:
        """Remove these completions, and compact the cache. Return them in this order."""
        removed = [self.completions[i] for i in indices]
        for index in indices:
            self.done_R[index] = True
        self.drop_finished(compact=True)
        return removed

    def drop_finished(self, compact: bool = False) -> None:
        """Remove finished completions, and compact the cache, by default where that is worth a copy of it."""
        live = (~self.done_R).nonzero().squeeze(1)
        self.completions = [self.completions[i] for i in live.tolist()]
        self.keys_R, self.row_R, self.done_R = self.keys_R[live], self.row_R[live], self.done_R[live]
        rows, row_of = torch.unique(self.row_R, return_inverse=True)
        worth_it = len(rows) <= (1 - COMPACT_SHARE) * len(self.cache)
        if compact or worth_it or (self.all_differ and not self.cache.is_sorted):
            kept = self.cache.sorted_rows(rows)
            self.cache.select(kept)
            self.hidden_ND, self.row_R = self.hidden_ND[kept], kept.argsort()[row_of]

    def extend(self, other: Batch) -> None:
        """Append another batch's completions."""
        self.completions += other.completions
        self.keys_R = torch.cat((self.keys_R, other.keys_R))
        self.row_R = torch.cat((self.row_R, other.row_R + len(self.cache)))
        self.done_R = torch.cat((self.done_R, other.done_R))
        self.hidden_ND = torch.cat((self.hidden_ND, other.hidden_ND))
        self.cache.extend(other.cache)
        self.all_differ = False
