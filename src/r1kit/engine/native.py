"""Generation with r1kit's own decoder: continuous batching, shared prefixes, no Python work per token.

Shapes as in `engine.batch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.batch import Batch, PartialCompletion
from r1kit.engine.blocks import BlockEngine
from r1kit.engine.prepacked import prepacked
from r1kit.engine.sampler import sample
from r1kit.engine.schedule import Schedule
from r1kit.model.decoder import Decoder


class NativeEngine(BlockEngine):
    """Generates with the decoder. Prompts are computed once for all their completions."""

    model: Decoder

    @torch.inference_mode()
    def _blocks(
        self, requests: Sequence[Request], parts: Sequence[tuple[int, Request]], params: SamplingParams, steps: int
    ) -> Iterator[list[tuple[PartialCompletion, int]]]:
        """See `BlockEngine._blocks`."""
        self._warn_beyond_positions(requests, params)
        decoder = prepacked(self.model)
        schedule = Schedule(decoder, requests, parts, params, self.capacity, steps)
        batch: Batch | None = None
        while (batch := schedule.update(batch)) is not None:
            yield self._decode(decoder, batch, params, steps)
            if bool(batch.done_R.all()):
                batch = None
            else:
                batch.drop_finished()

    def _decode(
        self, decoder: Decoder, batch: Batch, params: SamplingParams, steps: int
    ) -> list[tuple[PartialCompletion, int]]:
        """Sample up to `steps` tokens of every completion, then move them to the CPU together."""
        tokens, logprobs, live = [], [], []
        for _ in range(steps):
            positions_R = batch.cache.lengths_N[batch.row_R]
            logits_NV = decoder.logits(batch.hidden_ND)
            token_R, logp_R = sample(logits_NV, batch.keys_R, positions_R, params, batch.row_R)
            tokens.append(token_R)
            logprobs.append(logp_R)
            live.append(~batch.done_R)
            batch.done_R = batch.done_R | torch.isin(token_R, self.stop_ids) | (positions_R + 1 >= params.max_tokens)
            if bool(batch.done_R.all()):
                break
            token_N = batch.split_rows(token_R)
            positions_N1 = batch.cache.begin_step()
            batch.hidden_ND = decoder(token_N[:, None], positions_N1, batch.cache)[:, 0]
            batch.cache.end_step()
        return self._extend(batch.completions, tokens, logprobs, live, batch.done_R, params)
