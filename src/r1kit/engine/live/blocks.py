"""What live engines share that compute tokens themselves: the queue, admission, blocks of decode steps, memory.

A sample that has to make room is sampled again from its prompt when there is room. It gets the same tokens; those that
were returned before are not returned again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, cast

import torch
from transformers import PreTrainedTokenizerBase

from r1kit.console import say
from r1kit.engine.batch import COMPACT_SHARE, PartialCompletion
from r1kit.engine.blocks import DECODE_BLOCK, SampledRows
from r1kit.engine.cache import ALIGN
from r1kit.engine.decoding import decode_block
from r1kit.engine.live.base import LiveDelta, LiveRequest, check_request
from r1kit.engine.live.constraint import Grammars
from r1kit.engine.live.draw import LiveDraw, LiveSample
from r1kit.engine.schedule import Capacity
from r1kit.engine.stops import stop_tokens
from r1kit.errors import is_out_of_memory
from r1kit.machine import free_memory, memory_bytes
from r1kit.model.attention import round_up
from r1kit.model.policy import Policy

CACHE_SHARE = 0.25  # of the memory: what the KV cache may take by default


@dataclass(frozen=True, slots=True)
class Pace:
    """How long running samples wait for others, and callers for tokens."""

    block_seconds: float  # that a block of steps should take, so that text flows and the queue is looked at
    prefill_tokens: int  # of prompts computed before a block


RESPONSIVE = Pace(0.05, 2048)
THROUGHPUT = Pace(60.0, 32_768)  # nobody reads along: complete blocks, and many prompts at a time


class LiveBatch(SampledRows, Protocol):
    """Samples that are decoded together. Lengths include prompts."""

    def size(self, steps: int) -> tuple[int, int]:
        """Return the rows of the cache, and the tokens of each after `steps` more."""
        ...

    def extend(self, other: Any) -> None:
        """Append another batch's samples."""
        ...

    def remove(self, indices: Sequence[int]) -> list[PartialCompletion]:
        """Remove these samples, and unused rows of the cache. Return them in this order."""
        ...

    def drop_finished(self) -> None:
        """Remove finished samples."""
        ...


class BlockLiveEngine:
    """Decodes the samples that run a few tokens at a time, and admits others between that."""

    def __init__(
        self,
        model: Policy,
        tokenizer: PreTrainedTokenizerBase,
        max_concurrent: int = 64,
        kv_cache_tokens: int | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.capacity = Capacity(max_concurrent, kv_cache_tokens or _cache_tokens(model))
        self.context_length = model.config.max_position_embeddings
        self.vocabulary = len(model.head_weight)
        self.stops = stop_tokens(model.config, tokenizer)
        self.stop_ids = torch.tensor(sorted(self.stops), device=model.device)
        self.grammars = Grammars(tokenizer, self.vocabulary, self.stops)
        self.waiting: deque[LiveSample] = deque()
        self.admitting: list[LiveSample] = []  # whose prompts are being computed
        self.batch: LiveBatch | None = None
        self.steps, self.requests = DECODE_BLOCK, 0
        self.pace = RESPONSIVE

    @property
    def has_work(self) -> bool:
        """See `LiveEngine.has_work`."""
        return bool(self.waiting) or self.batch is not None

    def add(self, request: LiveRequest) -> None:
        """See `LiveEngine.add`."""
        check_request(request, self.context_length, self.vocabulary)
        grammar = self.grammars.compile(request.constraint) if request.constraint is not None else None
        for index in range(request.first_sample, request.first_sample + request.samples):
            own = grammar and grammar.fresh()
            self.waiting.append(LiveSample(self.requests, request.prompt_id, index, asked=request, grammar=own))
        self.requests += 1

    @torch.inference_mode()
    def cancel(self, request_id: str) -> None:
        """See `LiveEngine.cancel`."""
        self.waiting = deque(sample for sample in self.waiting if sample.asked.id != request_id)
        if self.batch is not None:
            for place, sample in enumerate(self._running()):
                if sample.asked.id == request_id:
                    self.batch.done_R[place] = True
            self._drop_finished()

    def step(self) -> list[LiveDelta]:
        """See `LiveEngine.step`."""
        try:
            return self._step()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the except clause, nothing references the cache of the failed attempt.
        return self._halve()

    def close(self) -> None:
        """See `LiveEngine.close`."""

    def _prefill(self, groups: Sequence[Sequence[LiveSample]]) -> LiveBatch:
        """Compute the prompts, once for the samples of each group, and return a batch of all samples."""
        raise NotImplementedError

    def _running(self) -> list[LiveSample]:
        return [] if self.batch is None else cast(list[LiveSample], self.batch.completions)

    @torch.inference_mode()
    def _step(self) -> list[LiveDelta]:
        self._admit()
        if (batch := self.batch) is None:
            return []
        self._make_room(batch)
        started, samples = time.perf_counter(), self._running()
        draw = LiveDraw(batch, samples, self.stop_ids)
        block = decode_block(self.model, batch, self.steps, draw)
        deltas = []
        for place, (sample, sampled, top) in enumerate(zip(samples, block.rows(), draw.likeliest(), strict=True)):
            count = sample.extend(*sampled, sample.asked.params.stop, self.tokenizer)
            sample.top_logprobs += top[:count]
            batch.done_R[place] |= sample.at_stop_string
            if (delta := sample.delta(self.stops)) is not None:
                deltas.append(delta)
        per_step = (time.perf_counter() - started) / len(block.tokens)
        self.steps = max(1, min(DECODE_BLOCK, int(self.pace.block_seconds / per_step)))
        self._drop_finished()
        return deltas

    def _drop_finished(self) -> None:
        if self.batch is not None and bool(self.batch.done_R.all()):
            self.batch = None
        elif self.batch is not None and bool(self.batch.done_R.any()):
            self.batch.drop_finished()

    def _admit(self) -> None:
        """Compute the prompts of the next samples for which there is room."""
        running = len(self._running())
        row_tokens = 0 if self.batch is None else self.batch.size(self.steps)[1]
        prompts, prompt_tokens = 0, 0
        while self.waiting:
            sample = self.waiting[0]
            length = round_up(len(sample.asked.token_ids), ALIGN)
            row_tokens = max(row_tokens, round_up(len(sample.asked.token_ids) + self.steps, ALIGN))
            if running + 1 > self._room(row_tokens):
                break
            if not self.admitting or self.admitting[-1].request != sample.request:
                if prompts and prompt_tokens + length > self.pace.prefill_tokens:
                    break
                prompts, prompt_tokens = prompts + 1, prompt_tokens + length
            self.admitting.append(self.waiting.popleft())
            running += 1
        if self.admitting:
            admitted = self._prefill([[*group] for _, group in groupby(self.admitting, lambda sample: sample.request)])
            if self.batch is None:
                self.batch = admitted
            else:
                self.batch.extend(admitted)
            self.admitting = []

    def _room(self, row_tokens: int) -> int:
        """Return how many samples may run. Where the cache is the limit, some of it is left for them to grow."""
        room = self.capacity.room(row_tokens, 0)
        return room if room == self.capacity.completions else max(1, int(room * (1 - COMPACT_SHARE)))

    def _make_room(self, batch: LiveBatch) -> None:
        """Compact the cache where it has become too large; if that is not enough, remove the newest samples."""
        rows, row_tokens = batch.size(self.steps)
        if self.capacity.holds(rows, row_tokens, 0):
            return
        samples, room = self._running(), self.capacity.room(row_tokens, 0)
        # More than necessary, because every time copies the cache.
        kept = len(samples) if len(samples) <= room else max(1, int(room * (1 - COMPACT_SHARE / 2)))
        by_age = sorted(range(len(samples)), key=lambda place: (samples[place].request, samples[place].sample))
        self._wait_again(cast(list[LiveSample], batch.remove(by_age[kept:])))

    def _wait_again(self, samples: Sequence[LiveSample]) -> None:
        for sample in sorted(samples, key=lambda sample: (sample.request, sample.sample), reverse=True):
            sample.restart()
            self.waiting.appendleft(sample)

    def _halve(self) -> list[LiveDelta]:
        """After memory ran out: run half as many samples from now on. A single one that does not fit fails."""
        samples = self._running() + self.admitting
        self.batch, self.admitting = None, []
        free_memory()
        if len(samples) == 1:
            (sample,) = samples
            sample.error = MemoryError(
                f"out of memory with a prompt of {len(sample.asked.token_ids):,} tokens and no other request: shorten "
                "the prompt or lower max_tokens"
            )
            return [delta for delta in [sample.delta(self.stops)] if delta is not None]
        self.capacity.completions = max(1, min(self.capacity.completions, len(samples)) // 2)
        say(f"out of memory: continuing with max_concurrent = {self.capacity.completions} (same completions)")
        self._wait_again(samples)
        return []


def _cache_tokens(model: Policy) -> int | None:
    """Return how many tokens of the KV cache take CACHE_SHARE of the memory; None where that is unknown."""
    token_bytes = model.config.num_hidden_layers * model.config.cache_width * model.head_weight.dtype.itemsize
    on_gpu = model.device.type == "cuda"
    memory = torch.cuda.get_device_properties(model.device).total_memory if on_gpu else memory_bytes()
    return int(CACHE_SHARE * memory / token_bytes) or None
