"""A live engine with r1kit's own decoder. A sample's tokens do not depend on what else is decoded.

Every row of the cache holds its prompt and its own tokens, one behind the other. Samples of a request share a row until
they differ.

Shapes: P prompts of similar length, L their padded length, R samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import torch
from transformers import PreTrainedTokenizerBase

from r1kit.engine.batch import Batch
from r1kit.engine.cache import ALIGN, KVCache
from r1kit.engine.live.blocks import BlockLiveEngine, LiveBatch
from r1kit.engine.live.draw import LiveSample
from r1kit.engine.live.invariant import MIN_ROWS, batch_invariant, fewest_keys
from r1kit.engine.sampler import row_key
from r1kit.model.attention import round_up
from r1kit.model.decoder import Decoder
from r1kit.model.prefix import PromptCache


class NativeLiveEngine(BlockLiveEngine):
    """Decodes with a batch-invariant copy of the decoder."""

    model: Decoder

    def __init__(
        self,
        model: Decoder,
        tokenizer: PreTrainedTokenizerBase,
        max_concurrent: int = 64,
        kv_cache_tokens: int | None = None,
    ) -> None:
        super().__init__(model, tokenizer, max_concurrent, kv_cache_tokens)
        self.model = batch_invariant(model)

    def _make_room(self, batch: LiveBatch) -> None:
        """See `BlockLiveEngine._make_room`."""
        super()._make_room(batch)
        cast(Batch, batch).widen(MIN_ROWS)

    def _prefill(self, groups: Sequence[Sequence[LiveSample]]) -> Batch:
        """See `BlockLiveEngine._prefill`. Prompts with the same padded length are computed together."""
        by_length: defaultdict[int, list[Sequence[LiveSample]]] = defaultdict(list)
        for group in groups:
            by_length[round_up(len(group[0].asked.token_ids), ALIGN)].append(group)
        first, *others = (self._prefill_padded(alike, length) for length, alike in by_length.items())
        for other in others:
            first.extend(other)
        return first

    def _prefill_padded(self, groups: Sequence[Sequence[LiveSample]], length: int) -> Batch:
        device = self.stop_ids.device
        prompts = [torch.tensor(group[0].asked.token_ids, device=device) for group in groups]
        tokens_PL = torch.zeros(len(groups), length, dtype=torch.long, device=device)
        for row, prompt in zip(tokens_PL, prompts, strict=True):
            row[: len(prompt)] = prompt
        lengths_P = torch.tensor([len(prompt) for prompt in prompts], device=device)
        mask_PL = torch.arange(length, device=device) < lengths_P[:, None]
        states = PromptCache.compute_after(None, self.model, tokens_PL, mask_PL)
        keys, values = ([x.contiguous() for x in xs] for xs in (states.keys, states.values))
        least = round_up(fewest_keys(self.model.config), ALIGN)
        cache = KVCache([], keys, values, torch.zeros_like(lengths_P), 0, lengths_P, least)
        samples = [sample for group in groups for sample in group]
        keys_R = torch.tensor([row_key(s.asked.params.seed, s.prompt_id, s.sample) for s in samples], device=device)
        samples_P = torch.tensor([len(group) for group in groups], device=device)
        row_R = torch.arange(len(groups), device=device).repeat_interleave(samples_P)
        return Batch([*samples], keys_R, row_R, states.last_hidden_PD, cache)
