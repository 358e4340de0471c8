"""A live engine with r1kit's own decoder. A sample's tokens do not depend on what else is decoded.

Every row of the cache holds its prompt and its own tokens, one behind the other. Samples of a request share a row until
they differ.

A prompt may begin with another that was computed before: then only the rest is computed. How a prompt is computed
depends on its own lengths, never on other prompts.

Shapes: P prompts of similar length, S padded length of what was computed before, L of the rest, R samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.engine.batch import Batch
from r1kit.engine.cache import ALIGN, KVCache
from r1kit.engine.fused.choice import with_fused_steps
from r1kit.engine.live.base import LiveRequest
from r1kit.engine.live.blocks import BlockLiveEngine, LiveBatch
from r1kit.engine.live.draw import LiveSample
from r1kit.engine.live.invariant import MIN_ROWS, batch_invariant, fewest_keys
from r1kit.engine.sampler import row_key
from r1kit.model.attention import PrefixAttention, RecordingAttention, round_up
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
        self.model = with_fused_steps(batch_invariant(model))

    def _make_room(self, batch: LiveBatch) -> None:
        """See `BlockLiveEngine._make_room`."""
        super()._make_room(batch)
        cast(Batch, batch).widen(MIN_ROWS)

    def _prefill(self, groups: Sequence[Sequence[LiveSample]]) -> Batch:
        """See `BlockLiveEngine._prefill`. Prompts with the same padded lengths are computed together."""
        by_length: defaultdict[tuple[int, int], list[Sequence[LiveSample]]] = defaultdict(list)
        for group in groups:
            before = _computed(group)
            rest = len(group[0].asked.token_ids) - before
            by_length[round_up(before, ALIGN), round_up(rest, ALIGN)].append(group)
        first, *others = (self._prefill_padded(alike, *lengths) for lengths, alike in by_length.items())
        for other in others:
            first.extend(other)
        return first

    def _prefill_padded(self, groups: Sequence[Sequence[LiveSample]], before: int, length: int) -> Batch:
        device = self.stop_ids.device
        asked = [group[0].asked for group in groups]
        starts_P = torch.tensor([_computed(group) for group in groups], device=device)
        lengths_P = torch.tensor([len(request.token_ids) for request in asked], device=device)
        tokens_PL = torch.zeros(len(groups), length, dtype=torch.long, device=device)
        for row, request, start in zip(tokens_PL, asked, starts_P.tolist(), strict=True):
            rest = torch.tensor(request.token_ids[start:], device=device)
            row[: len(rest)] = rest
        mask_PL = torch.arange(length, device=device) < (lengths_P - starts_P)[:, None]
        if before:
            states = self._compute_rest(asked, starts_P, tokens_PL, mask_PL, before)
        else:
            states = PromptCache.compute_after(None, self.model, tokens_PL, mask_PL)
        keys, values = ([x.contiguous() for x in xs] for xs in (states.keys, states.values))
        for p, request in enumerate(asked):
            if (kept := request.keep) is not None:
                kept.length = len(request.token_ids)
                kept.keys, kept.values = ([x[p, :, : kept.length].clone() for x in xs] for xs in (keys, values))
        least = round_up(fewest_keys(self.model.config), ALIGN)
        zeros_P, products = torch.zeros_like(lengths_P), not self.model.fused_steps
        cache = KVCache([], keys, values, zeros_P, 0, lengths_P, least, reads_capacity=products)
        samples = [sample for group in groups for sample in group]
        keys_R = torch.tensor([row_key(s.asked.params.seed, s.prompt_id, s.sample) for s in samples], device=device)
        samples_P = torch.tensor([len(group) for group in groups], device=device)
        row_R = torch.arange(len(groups), device=device).repeat_interleave(samples_P)
        return Batch([*samples], keys_R, row_R, states.last_hidden_PD, cache)

    def _compute_rest(
        self, asked: Sequence[LiveRequest], starts_P: Tensor, tokens_PL: Tensor, mask_PL: Tensor, before: int
    ) -> PromptCache:
        """Compute prompts whose first tokens are known. Return all of their keys and values, one behind the other."""
        known = [request.begins_with for request in asked if request.begins_with is not None]
        known_k, known_v = (
            [torch.stack([F.pad(x, (0, 0, 0, before - x.shape[1])) for x in layer]) for layer in zip(*xs, strict=True)]
            for xs in ([each.keys for each in known], [each.values for each in known])
        )
        mask_PS = torch.arange(before, device=starts_P.device) < starts_P[:, None]
        attend = RecordingAttention(PrefixAttention(known_k, known_v, mask_PS, tokens_PL.shape[1]))
        places_PL = starts_P[:, None] + torch.arange(tokens_PL.shape[1], device=starts_P.device)
        hidden_PLD = self.model(tokens_PL, places_PL, attend)
        rows_P = torch.arange(len(asked), device=starts_P.device)
        last_hidden_PD = hidden_PLD[rows_P, mask_PL.sum(1) - 1]

        def joined(x_PKSE: Tensor, y_PKLE: Tensor) -> Tensor:
            both = F.pad(x_PKSE, (0, 0, 0, y_PKLE.shape[2]))
            both[rows_P[:, None], :, places_PL] = y_PKLE.transpose(1, 2)
            return both

        keys = [joined(x, y) for x, y in zip(known_k, attend.keys, strict=True)]
        values = [joined(x, y) for x, y in zip(known_v, attend.values, strict=True)]
        return PromptCache(keys, values, last_hidden_PD, mask_PL)


def _computed(group: Sequence[LiveSample]) -> int:
    """Return how many tokens of a prompt were computed before."""
    known = group[0].asked.begins_with
    return 0 if known is None else known.length
