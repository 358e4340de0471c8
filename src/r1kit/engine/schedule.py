"""Which completions are decoded now, and which wait.

Completions are admitted while the KV cache has room for them. They take more as they grow; where the cache is full, the
shortest are interrupted and continued later, with the same tokens.

Shapes as in `engine.batch`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.batch import COMPACT_SHARE, Batch, PartialCompletion
from r1kit.engine.cache import ALIGN
from r1kit.engine.prefill import CommonPrefix, prompt_states, resumed_state
from r1kit.engine.sampler import row_key
from r1kit.model.attention import round_up
from r1kit.model.decoder import Decoder


@dataclass(slots=True)
class Capacity:
    """What an engine decodes at the same time."""

    completions: int
    cache_tokens: int | None = None  # in the KV cache, with padding; None for any number

    def room(self, row_tokens: int, shared_tokens: int) -> int:
        """Return how many completions of `row_tokens` fit beside prefixes of `shared_tokens`: at least one."""
        if self.cache_tokens is None:
            return self.completions
        return max(1, min(self.completions, (self.cache_tokens - shared_tokens) // row_tokens))

    def holds(self, rows: int, row_tokens: int, shared_tokens: int) -> bool:
        """Return whether the cache may have this size. A single row may have any."""
        return rows == 1 or self.cache_tokens is None or rows * row_tokens + shared_tokens <= self.cache_tokens


@dataclass(frozen=True, slots=True)
class _Entry:
    """Samples of a request that wait."""

    index: int
    request: Request
    begun: PartialCompletion | None = None  # its only sample, which was interrupted


class Schedule:
    """The completions of one call of the engine."""

    def __init__(
        self,
        decoder: Decoder,
        requests: Sequence[Request],
        parts: Sequence[tuple[int, Request]],
        params: SamplingParams,
        capacity: Capacity,
        steps: int,
    ) -> None:
        """Take those samples of `requests` that are wanted, with the index of their request.

        `steps` tokens are decoded between two calls of `update`.
        """
        self.decoder, self.requests, self.params = decoder, requests, params
        self.capacity, self.steps = capacity, steps
        self.prefix = CommonPrefix.compute(decoder, requests)
        self.waiting = deque(_Entry(*part) for part in parts)

    def update(self, batch: Batch | None) -> Batch | None:
        """Return the batch with completions added or interrupted as memory allows; None after the last."""
        if self.waiting:
            room = self._room(batch)
            if batch is None or len(batch.completions) <= room * (1 - COMPACT_SHARE):
                batch = self._admit(batch)
        if batch is not None:
            rows = max(batch.cache.allocated_rows, len(batch.completions))
            if not self.capacity.holds(rows, *self._sizes(batch)):
                self._interrupt(batch)
        return batch

    def _interrupt(self, batch: Batch) -> None:
        """Compact the cache; if that is not enough, interrupt completions."""
        room = self._room(batch)
        # More than necessary, because every time copies the cache, and fewer than would be admitted again.
        kept = room if len(batch.completions) <= room else max(1, int(room * (1 - COMPACT_SHARE / 2)))
        interrupted = batch.interrupt_shortest(kept)
        self.waiting.extendleft(self._resumption(partial) for partial in reversed(interrupted))

    def _resumption(self, begun: PartialCompletion) -> _Entry:
        request = replace(self.requests[begun.request], samples=1, first_sample=begun.sample)
        return _Entry(begun.request, request, begun)

    def _sizes(self, batch: Batch | None) -> tuple[int, int]:
        """Return the tokens of a row after the next steps, and those of prefixes that rows share."""
        if batch is None:
            return self._row_tokens(0), self.prefix.length
        return batch.cache.row_tokens(self.steps), batch.cache.shared_tokens

    def _row_tokens(self, sampled: int) -> int:
        return self.prefix.copied_tokens + round_up(sampled + self.steps, ALIGN)

    def _room(self, batch: Batch | None) -> int:
        return self.capacity.room(*self._sizes(batch))

    def _admit(self, batch: Batch | None) -> Batch | None:
        """Prefill the next requests whose samples all fit. Requests larger than the engine are split."""
        row_tokens, shared_tokens = self._sizes(batch)
        running = 0 if batch is None else len(batch.completions)
        admitted: list[_Entry] = []
        while self.waiting:
            entry = self.waiting[0]
            index, request, begun = entry.index, entry.request, entry.begun
            row_tokens = max(row_tokens, self._row_tokens(len(begun.token_ids) if begun else 0))
            shared_tokens += self.prefix.shared_tokens(request)
            at_most = self.capacity.room(row_tokens, shared_tokens)
            room = at_most - running
            if request.samples <= room:
                admitted.append(self.waiting.popleft())
                running += request.samples
                continue
            if room > 0 and not admitted and request.samples > at_most:
                rest = replace(request, samples=request.samples - room, first_sample=request.first_sample + room)
                self.waiting[0] = _Entry(index, rest)
                admitted.append(_Entry(index, replace(request, samples=room)))
            break
        new = [entry for entry in admitted if entry.begun is None]
        batches = [self._prefill(new)] if new else []
        batches += [self._resume(entry.request, entry.begun) for entry in admitted if entry.begun is not None]
        if batch is None and batches:
            batch = batches.pop(0)
        for other in batches:
            assert batch is not None
            batch.extend(other)
        return batch

    def _prefill(self, entries: Sequence[_Entry]) -> Batch:
        """Compute every prompt once and return a batch of all samples, one cache row per prompt."""
        completions = [
            PartialCompletion(entry.index, entry.request.prompt_id, entry.request.first_sample + s)
            for entry in entries
            for s in range(entry.request.samples)
        ]
        prompts = [entry.request.token_ids for entry in entries]
        hidden_PD, cache = prompt_states(self.decoder, self.prefix, prompts, self.params.max_tokens)
        samples_P = torch.tensor([entry.request.samples for entry in entries], device=hidden_PD.device)
        row_R = torch.arange(len(entries), device=hidden_PD.device).repeat_interleave(samples_P)
        return Batch(completions, self._keys(completions, hidden_PD.device), row_R, hidden_PD, cache)

    def _resume(self, request: Request, begun: PartialCompletion) -> Batch:
        """Compute the prompt and the tokens sampled so far again, and return a batch of this completion."""
        hidden_1D, cache = resumed_state(
            self.decoder, self.prefix, request.token_ids, begun.token_ids, self.params.max_tokens
        )
        row_1 = torch.zeros(1, dtype=torch.long, device=hidden_1D.device)
        return Batch([begun], self._keys([begun], hidden_1D.device), row_1, hidden_1D, cache)

    def _keys(self, completions: Sequence[PartialCompletion], device: torch.device) -> torch.Tensor:
        return torch.tensor([row_key(self.params.seed, c.prompt_id, c.sample) for c in completions], device=device)
