"""A live engine with any causal language model of transformers: requests join its KV cache.

Rows are aligned on the right, so a row that joins is padded on the left, or the others are. Padding that all rows have
is cut. A sample's tokens do not depend on the others, up to rounding.

Shapes: R samples, S tokens in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from r1kit.engine.batch import PartialCompletion
from r1kit.engine.generic import Wave, prompt_wave
from r1kit.engine.live.blocks import BlockLiveEngine
from r1kit.engine.live.draw import LiveSample
from r1kit.engine.sampler import row_key
from r1kit.model.generic.decoder import GenericDecoder


class LiveWave(Wave):
    """A wave that others may join. Lengths include prompts."""

    def size(self, steps: int) -> tuple[int, int]:
        """See `LiveBatch.size`."""
        return len(self.completions), self.mask_RS.shape[1] + steps

    def extend(self, other: LiveWave) -> None:
        """See `LiveBatch.extend`."""
        width = max(self.mask_RS.shape[1], other.mask_RS.shape[1])
        self._set_width(width)
        other._set_width(width)
        for layer, joining in zip(self._layers(), other._layers(), strict=True):
            layer.keys = torch.cat((layer.keys, joining.keys))
            layer.values = torch.cat((layer.values, joining.values))
        self.completions += other.completions
        self.set_rows(*(torch.cat(pair) for pair in zip(self.rows(), other.rows(), strict=True)))

    def remove(self, indices: Sequence[int]) -> list[PartialCompletion]:
        """See `LiveBatch.remove`."""
        removed = [self.completions[i] for i in indices]
        for index in indices:
            self.done_R[index] = True
        self.drop_finished()
        return removed

    def drop_finished(self) -> None:
        """Remove finished samples, and the padding that all others have."""
        super().drop_finished()
        self._set_width(int(self.lengths_R.max()))

    def _layers(self) -> Sequence[Any]:
        """Return the layers of the cache: all hold keys and values, as `model.generic.checkpoint` has checked."""
        return self.cache.layers

    def _set_width(self, tokens: int) -> None:
        """Cut padding on the left, or add some, so that rows have this many tokens."""
        self.mask_RS = _fit(self.mask_RS, 1, tokens)
        for layer in self._layers():
            width = tokens
            if layer.is_sliding:  # it holds the last tokens only, and counts all
                layer.cumulative_length, width = tokens, min(tokens, layer.sliding_window - 1)
            layer.keys, layer.values = _fit(layer.keys, 2, width), _fit(layer.values, 2, width)


class GenericLiveEngine(BlockLiveEngine):
    """Decodes with a model of transformers."""

    model: GenericDecoder

    def _prefill(self, groups: Sequence[Sequence[LiveSample]]) -> LiveWave:
        """See `BlockLiveEngine._prefill`."""
        samples = [sample for group in groups for sample in group]
        keys = [row_key(s.asked.params.seed, s.prompt_id, s.sample) for s in samples]
        prompts = [group[0].asked.token_ids for group in groups]
        wave = prompt_wave(self.model, prompts, [len(group) for group in groups], [*samples], keys)
        lengths_R = wave.mask_RS.sum(1)
        return LiveWave(wave.completions, wave.keys_R, wave.hidden_ND, wave.mask_RS, wave.cache, wave.done_R, lengths_R)


def _fit(x: Tensor, dim: int, width: int) -> Tensor:
    """Cut or pad the beginning of a dimension."""
    missing = width - x.shape[dim]
    if missing <= 0:
        return x.narrow(dim, -missing, width)
    return F.pad(x, (0, 0) * (x.ndim - 1 - dim) + (missing, 0))
