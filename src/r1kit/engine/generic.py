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
from r1kit.engine.sampler import row_key, sample
from r1kit.model.generic.decoder import GenericDecoder


@dataclass(slots=True)
class _Wave:
    """Completions that are decoded together, each with its row of the cache."""

    completions: list[PartialCompletion]
    keys_R: Tensor  # random keys, see engine.sampler
    hidden_RD: Tensor
    mask_RS: Tensor  # False for padding in front of a prompt
    cache: DynamicCache
    done_R: Tensor
    tokens: int = 0  # sampled so far, for each completion

    def drop_finished(self) -> None:
        """Remove finished completions."""
        live = (~self.done_R).nonzero().squeeze(1)
        if len(live) < len(self.completions):
            self.completions = [self.completions[i] for i in live.tolist()]
            self.keys_R, self.hidden_RD, self.mask_RS = self.keys_R[live], self.hidden_RD[live], self.mask_RS[live]
            self.done_R = self.done_R[live]
            self.cache.batch_select_indices(live)


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
            wave = self._prefill(admitted, params)
            while wave.completions:
                yield self._decode(wave, params, steps)
                wave.drop_finished()

    def _prefill(self, admitted: Sequence[tuple[int, Request]], params: SamplingParams) -> _Wave:
        """Compute every prompt once and give each of its completions a copy of it."""
        device, model = self.stop_ids.device, self.model
        prompts = [torch.tensor(request.token_ids) for _, request in admitted]
        lengths_P = torch.tensor([len(prompt) for prompt in prompts], device=device)
        longest = int(lengths_P.max())
        tokens_PL = torch.stack([F.pad(prompt, (longest - len(prompt), 0)) for prompt in prompts]).to(device)
        mask_PL = torch.arange(longest, device=device) >= longest - lengths_P[:, None]
        cache = DynamicCache(config=model.lm.config)
        hidden_PD = model.decode(tokens_PL, mask_PL, cache)
        completions = [
            PartialCompletion(index, request.prompt_id, request.first_sample + s)
            for index, request in admitted
            for s in range(request.samples)
        ]
        keys_R = torch.tensor([row_key(params.seed, c.prompt_id, c.sample) for c in completions], device=device)
        samples_P = torch.tensor([request.samples for _, request in admitted], device=device)
        row_R = torch.arange(len(admitted), device=device).repeat_interleave(samples_P)
        cache.batch_select_indices(row_R)
        done_R = torch.zeros_like(row_R, dtype=torch.bool)
        return _Wave(completions, keys_R, hidden_PD[row_R], mask_PL[row_R], cache, done_R)

    def _decode(self, wave: _Wave, params: SamplingParams, steps: int) -> list[tuple[PartialCompletion, int]]:
        """Sample up to `steps` tokens of every completion."""
        tokens, logprobs, live = [], [], []
        for _ in range(steps):
            positions_R = torch.full_like(wave.keys_R, wave.tokens)
            token_R, logp_R = sample(self.model.logits(wave.hidden_RD), wave.keys_R, positions_R, params)
            tokens.append(token_R)
            logprobs.append(logp_R)
            live.append(~wave.done_R)
            wave.tokens += 1
            wave.done_R = wave.done_R | torch.isin(token_R, self.stop_ids) | (wave.tokens >= params.max_tokens)
            if bool(wave.done_R.all()):
                break
            wave.mask_RS = F.pad(wave.mask_RS, (0, 1), value=True)
            wave.hidden_RD = self.model.decode(token_R[:, None], wave.mask_RS, wave.cache)
        return self._extend(wave.completions, tokens, logprobs, live, wave.done_R, params)


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
