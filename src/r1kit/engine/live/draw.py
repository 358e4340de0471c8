"""Sampling of one token for every running sample, each by its own parameters and within its own constraint.

Shapes: R samples, N distributions (samples that are still identical share one), V vocabulary, K likeliest tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from r1kit.engine.base import SamplingParams
from r1kit.engine.batch import PartialCompletion
from r1kit.engine.blocks import SampledRows
from r1kit.engine.decoding import Drawn
from r1kit.engine.live.base import FinishReason, LiveDelta, LiveRequest
from r1kit.engine.live.constraint import Grammar
from r1kit.engine.sampler import Allowed, RowSampling, sample, top_logprobs
from r1kit.errors import UserError

UNUSED = SamplingParams(seed=0, max_tokens=1)  # for rows without a sample


@dataclass(slots=True)
class LiveSample(PartialCompletion):
    """A sample of a request, waiting or running."""

    asked: LiveRequest = field(kw_only=True)
    grammar: Grammar | None = None
    top_logprobs: list[list[tuple[int, float]]] = field(default_factory=list)
    reported: int = 0  # tokens that were returned
    is_complete: bool = False  # its grammar has ended
    error: Exception | None = None

    def restart(self) -> None:
        """Forget the tokens: they will be sampled again."""
        self.token_ids, self.logprobs, self.top_logprobs = [], [], []
        self.at_stop_string = self.is_complete = False
        self.grammar = self.grammar and self.grammar.fresh()

    def delta(self, stops: set[int]) -> LiveDelta | None:
        """Return what is new since the last call, if anything."""
        reason, new = self.finish_reason(stops), slice(self.reported, None)
        if reason is None and len(self.token_ids) <= self.reported:
            return None
        self.reported = max(self.reported, len(self.token_ids))
        ids, logprobs = self.token_ids[new], self.logprobs[new]
        return LiveDelta(self.asked.id, self.sample, ids, logprobs, self.top_logprobs[new], reason, self.error)

    def finish_reason(self, stops: set[int]) -> FinishReason | None:
        """Return why the sample has ended; None if it goes on."""
        if self.error:
            return "error"
        if self.at_stop_string or self.is_complete or stops & {*self.token_ids[-1:]}:
            return "stop"
        return "length" if len(self.token_ids) >= self.asked.params.max_tokens else None


class LiveDraw:
    """Draws the tokens of a block. Lengths of samples include their prompts."""

    def __init__(self, batch: SampledRows, samples: Sequence[LiveSample], stop_ids: Tensor) -> None:
        self.batch, self.samples, self.stop_ids = batch, samples, stop_ids
        prompts = [len(s.asked.token_ids) for s in samples]
        before = [n - s.asked.first_position for n, s in zip(prompts, samples, strict=True)]
        self.position_0_R = torch.tensor(before, device=stop_ids.device)  # length of each sample at position 0
        last = [n + s.asked.params.max_tokens for n, s in zip(prompts, samples, strict=True)]
        self.last_R = torch.tensor(last, device=stop_ids.device)
        self.constrained = [r for r, s in enumerate(samples) if s.grammar is not None]
        self.top_count = max(s.asked.top_logprobs for s in samples)
        self.top: list[tuple[Tensor, Tensor]] = []  # of each step, [R, K]
        self._rows: tuple[Tensor | None, list[int], RowSampling] | None = None

    def __call__(self, logits_NV: Tensor, lengths_R: Tensor) -> Drawn:
        """See `engine.decoding.Draw`."""
        if len(logits_NV) == 1:  # torch sums a single row in another order than one of several
            logits_NV = logits_NV.repeat(2, 1)
        row_R, rows, params = self._parameters(len(logits_NV))
        done = self.batch.done_R.tolist() if self.constrained else []
        open_samples = [r for r in self.constrained if not done[r]]
        allowed = self._allowed(open_samples, rows)
        token_R, logp_R = sample(logits_NV, self.batch.keys_R, lengths_R - self.position_0_R, params, row_R, allowed)
        ends_R = torch.isin(token_R, self.stop_ids) | (lengths_R + 1 >= self.last_R)
        if open_samples:
            self._consume(open_samples, token_R.tolist(), ends_R)
        if self.top_count:
            logprobs_NK, tokens_NK = top_logprobs(logits_NV, params.temperature_N1, self.top_count)
            self.top.append((logprobs_NK[row_R], tokens_NK[row_R]))
        return Drawn(token_R, logp_R, ends_R)

    def likeliest(self) -> list[list[list[tuple[int, float]]]]:
        """Return the likeliest tokens of every sample and step, as many as its request asks for."""
        if not self.top:
            return [[] for _ in self.samples]
        logprobs, tokens = (torch.stack(xs, 1).tolist() for xs in zip(*self.top, strict=True))
        return [
            [[*zip(t, p, strict=True)][:count] for t, p in zip(tokens[r], logprobs[r], strict=True)] if count else []
            for r, count in enumerate(s.asked.top_logprobs for s in self.samples)
        ]

    def _parameters(self, rows: int) -> tuple[Tensor, list[int], RowSampling]:
        """Return the row of every sample, also as a list, and the parameters of every row."""
        row_R = self.batch.row_R
        if self._rows is None or self._rows[0] is not row_R:
            places = [*range(len(self.samples))] if row_R is None else row_R.tolist()
            params = [UNUSED] * rows
            for place, s, done in zip(places, self.samples, self.batch.done_R.tolist(), strict=True):
                if not done:
                    params[place] = s.asked.params
            self._rows = (row_R, places, RowSampling.of(params, self.stop_ids.device))
        _, places, sampling = self._rows
        return torch.tensor(places, device=self.stop_ids.device) if row_R is None else row_R, places, sampling

    def _allowed(self, open_samples: Sequence[int], rows: Sequence[int]) -> Allowed | None:
        masks: dict[int, Tensor] = {}
        for r in open_samples:
            grammar, row = self.samples[r].grammar, rows[r]
            if grammar is None or row in masks:  # samples of one row have the same tokens
                continue
            try:
                masks[row] = grammar.allowed()
            except UserError as error:
                self.samples[r].error = error
        if not masks:
            return None
        device = self.stop_ids.device
        return Allowed(torch.tensor([*masks], device=device), torch.stack([*masks.values()]).to(device))

    def _consume(self, open_samples: Sequence[int], tokens: Sequence[int], ends_R: Tensor) -> None:
        for r in open_samples:
            s = self.samples[r]
            assert s.grammar is not None
            try:
                s.is_complete = s.grammar.consume(tokens[r])
            except UserError as error:
                s.error = s.error or error
            if s.error or s.is_complete:
                ends_R[r] = True
