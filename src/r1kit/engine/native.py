"""Generation with r1kit's own decoder: continuous batching, shared prefixes, no Python work per token.

Shapes as in `engine.batch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.batch import Batch, PartialCompletion
from r1kit.engine.blocks import BlockEngine
from r1kit.engine.fused.choice import with_fused_steps
from r1kit.engine.prepacked import prepacked
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
        decoder = with_fused_steps(prepacked(self.model))
        schedule = Schedule(decoder, requests, parts, params, self.capacity, steps)
        batch: Batch | None = None
        while (batch := schedule.update(batch)) is not None:
            yield self._decode(decoder, batch, params, steps)
            if bool(batch.done_R.all()):
                batch = None
            else:
                batch.drop_finished()
