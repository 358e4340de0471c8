"""Generation with a model that transformers computes: in waves, with its KV cache and r1kit's sampler.

A wave is as many completions as memory allows. Its prompts are computed once each, and finished completions leave the
cache; the next wave begins after the last of them. A completion is the same in any wave, up to rounding.

Shapes: P prompts, L longest prompt, R completions, S tokens in the cache, D model width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.batch import PartialCompletion
from r1kit.engine.blocks import BlockEngine
from r1kit.engine.sampler import row_key
from r1kit.model.generic.decoder import GenericDecoder


@dataclass
class Wave:
    """Completions that are decoded together, each with its row of the cache."""

    completions: list[PartialCompletion]
    keys_R: Tensor  # random keys, see engine.sampler
    hidden_ND: Tensor  # of every completion: N = R
    mask_RS: Tensor  # False for padding in front of a prompt
    cache: DynamicCache
    done_R: Tensor
    lengths_R: Tensor  # tokens sampled so far; in live engines, with the prompt
    row_R: None = None  # every completion has a row of its own

    def advance(self, model: GenericDecoder, token_R: Tensor) -> None:
        """Append a token to every completion and compute the hidden states behind them."""
        self.lengths_R = self.lengths_R + 1
        self.mask_RS = F.pad(self.mask_RS, (0, 1), value=True)
        self.hidden_ND = model.decode(token_R[:, None], self.mask_RS, self.cache)

    def drop_finished(self) -> None:
        """Remove finished completions."""
        live = (~self.done_R).nonzero().squeeze(1)
        if len(live) < len(self.completions):
            self.completions = [self.completions[i] for i in live.tolist()]
            self.set_rows(*(x[live] for x in self.rows()))
            self.cache.batch_select_indices(live)

    def rows(self) -> tuple[Tensor, ...]:
        """Return what is held for each completion outside the cache."""
        return self.keys_R, self.hidden_ND, self.mask_RS, self.done_R, self.lengths_R

    def set_rows(self, keys_R: Tensor, hidden_ND: Tensor, mask_RS: Tensor, done_R: Tensor, lengths_R: Tensor) -> None:
        """Replace what `rows` returns."""
        self.keys_R, self.hidden_ND, self.mask_RS = keys_R, hidden_ND, mask_RS
        self.done_R, self.lengths_R = done_R, lengths_R


class GenericEngine(BlockEngine):
    """Generates with any causal language model of transformers."""

    model: GenericDecoder

    @torch.inference_mode()
    def _blocks(
        self, requests: Sequence[Request], parts: Sequence[tuple[int, Request]], params: SamplingParams, steps: int
    ) -> Iterator[list[tuple[PartialCompletion, int]]]:
        """See `BlockEngine._blocks`."""
        self._warn_beyond_positions(requests, params)
        row_tokens = params.max_tokens + max((len(request.token_ids) for request in requests), default=0)
        self.model.check_length(row_tokens - 1)  # the last token is not read
        for admitted in _waves(parts, self.capacity.room(row_tokens, 0)):
            completions = [
                PartialCompletion(index, request.prompt_id, request.first_sample + s)
                for index, request in admitted
                for s in range(request.samples)
            ]
            keys = [row_key(params.seed, c.prompt_id, c.sample) for c in completions]
            prompts, samples = zip(*((request.token_ids, request.samples) for _, request in admitted), strict=True)
            wave = prompt_wave(self.model, prompts, samples, completions, keys)
            while wave.completions:
                yield self._decode(self.model, wave, params, steps)
                wave.drop_finished()


def prompt_wave(
    model: GenericDecoder,
    prompts: Sequence[tuple[int, ...]],
    samples: Sequence[int],
    completions: list[PartialCompletion],
    keys: Sequence[int],
) -> Wave:
    """Compute every prompt once and give each of its completions a copy of it.

    Args:
        model: The model.
        prompts: Token ids.
        samples: Completions of each prompt.
        completions: All completions, in the order of the prompts.
        keys: Their random keys.
    """
    device = model.device
    tokens = [torch.tensor(prompt) for prompt in prompts]
    lengths_P = torch.tensor([len(prompt) for prompt in prompts], device=device)
    longest = int(lengths_P.max())
    tokens_PL = torch.stack([F.pad(prompt, (longest - len(prompt), 0)) for prompt in tokens]).to(device)
    mask_PL = torch.arange(longest, device=device) >= longest - lengths_P[:, None]
    cache = DynamicCache(config=model.lm.config)
    hidden_PD = model.decode(tokens_PL, mask_PL, cache)
    row_R = torch.arange(len(prompts), device=device).repeat_interleave(torch.tensor(samples, device=device))
    cache.batch_select_indices(row_R)
    keys_R, done_R = torch.tensor(keys, device=device), torch.zeros_like(row_R, dtype=torch.bool)
    return Wave(completions, keys_R, hidden_PD[row_R], mask_PL[row_R], cache, done_R, torch.zeros_like(row_R))


def _waves(parts: Sequence[tuple[int, Request]], room: int) -> Iterator[list[tuple[int, Request]]]:
    """Split requests into waves of at most `room` completions."""
    wave: list[tuple[int, Request]] = []
    free = room
    for index, request in parts:
        first, end = request.first_sample, request.first_sample + request.samples
        while first < end:
            taken = min(free, end - first)
            wave.append((index, replace(request, first_sample=first, samples=taken)))
            first, free = first + taken, free - taken
            if not free:
                yield wave
                wave, free = [], room
    if wave:
        yield wave
