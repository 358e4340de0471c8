"""Generation with r1kit's own decoder: continuous batching, prompts shared by their group, no Python work per token.

Shapes: N rows (sequences being written), P prompts, L padded prompt length, D model width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import Delta, Finished, Request, SamplingParams
from r1kit.engine.cache import ALIGN, Cache
from r1kit.engine.prepacked import prepacked
from r1kit.engine.sampler import row_key, sample
from r1kit.model.attention import aligned
from r1kit.model.decoder import Decoder
from r1kit.model.prefix import Prefix
from r1kit.types import Completion

# Decode steps between looks at who has finished. Rows that finish inside a block idle until its end.
BLOCK = 8
# Rows leave the batch when this share of it has finished; leaving costs a copy of the cache.
RETIRE_SHARE = 0.2


@dataclass(slots=True)
class Row:
    """One completion being written."""

    request: int
    prompt_id: str
    sample: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class Batch:
    """The rows that are decoded together."""

    def __init__(self, rows: list[Row], keys_N: Tensor, hidden_ND: Tensor, cache: Cache):
        self.rows, self.keys_N, self.hidden_ND, self.cache = rows, keys_N, hidden_ND, cache
        self.done_N = torch.zeros(len(rows), dtype=torch.bool, device=hidden_ND.device)

    def keep(self, alive: Tensor) -> None:
        self.rows = [self.rows[i] for i in alive.tolist()]
        self.keys_N, self.hidden_ND, self.done_N = self.keys_N[alive], self.hidden_ND[alive], self.done_N[alive]
        self.cache.keep(alive)

    def join(self, other: Batch) -> None:
        self.rows += other.rows
        self.keys_N = torch.cat((self.keys_N, other.keys_N))
        self.hidden_ND = torch.cat((self.hidden_ND, other.hidden_ND))
        self.done_N = torch.cat((self.done_N, other.done_N))
        self.cache.join(other.cache)


class NativeEngine:
    """Shares its weights with the learner when both hold the same module: nothing to copy, nothing to drift."""

    def __init__(self, model: Decoder, tokenizer: PreTrainedTokenizerBase, max_concurrent: int = 512):
        self.model, self.tokenizer, self.max_concurrent = model, tokenizer, max_concurrent
        self.version = 0
        self.stops = set(model.config.eos_token_ids) | {tokenizer.eos_token_id} - {None}
        self.stop_ids = torch.tensor(sorted(self.stops), device=model.embed.weight.device)

    def load_weights(self, model: Decoder, version: int) -> None:
        self.model, self.version = model, version

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, finished: Finished | None = None
    ) -> list[Completion]:
        """See `Engine.generate`."""
        whole: dict[tuple[int, int], Completion] = {}  # (request, sample) -> completion
        for written in self._blocks(requests, params, BLOCK):
            for row, _ in written:
                if len(row.token_ids) < params.max_tokens and not self._stopped(row):
                    continue
                whole[row.request, row.sample] = completion = self._completion(row)
                if finished is not None:
                    finished(completion)
        return [whole[place] for place in sorted(whole)]

    def stream(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Delta]:
        """See `Engine.stream`."""
        for written in self._blocks(requests, params, steps=1):
            for row, count in written:
                yield Delta(row.prompt_id, row.sample, row.token_ids[len(row.token_ids) - count :])

    @torch.inference_mode()
    def _blocks(
        self, requests: Sequence[Request], params: SamplingParams, steps: int
    ) -> Iterator[list[tuple[Row, int]]]:
        """Decode `steps` tokens at a time; yields each row that grew, and by how much."""
        decoder = prepacked(self.model)
        waiting = deque(enumerate(requests))
        batch: Batch | None = None
        while waiting or batch:
            if waiting and (batch is None or len(batch.rows) <= self.max_concurrent * (1 - RETIRE_SHARE)):
                arrived = self._admit(decoder, waiting, self.max_concurrent - (len(batch.rows) if batch else 0), params)
                if batch is None:
                    batch = arrived
                elif arrived is not None:
                    batch.join(arrived)
            yield self._decode(decoder, batch, params, steps)
            alive = (~batch.done_N).nonzero().squeeze(-1)
            if len(alive) == 0:
                batch = None
            elif len(alive) <= len(batch.rows) * (1 - RETIRE_SHARE):
                batch.keep(alive)

    def _admit(
        self, decoder: Decoder, waiting: deque[tuple[int, Request]], room: int, params: SamplingParams
    ) -> Batch | None:
        """Prefill the next prompts whose whole group fits; a group larger than the engine comes in parts."""
        taken: list[tuple[int, Request]] = []
        while waiting and room > 0:
            index, request = waiting[0]
            if request.samples > room:
                if taken or request.samples <= self.max_concurrent:
                    break
                rest = Request(
                    request.prompt_id, request.token_ids, request.samples - room, request.first_sample + room
                )
                request = Request(request.prompt_id, request.token_ids, room, request.first_sample)
                waiting[0] = (index, rest)
            else:
                waiting.popleft()
            taken.append((index, request))
            room -= request.samples
        return self._prefill(decoder, taken, params) if taken else None

    def _prefill(self, decoder: Decoder, taken: list[tuple[int, Request]], params: SamplingParams) -> Batch:
        device = self.model.embed.weight.device
        lengths_P = torch.tensor([len(request.token_ids) for _, request in taken], device=device)
        tokens_PL = torch.zeros(len(taken), aligned(int(lengths_P.max()), ALIGN), dtype=torch.long, device=device)
        for p, (_, request) in enumerate(taken):
            tokens_PL[p, : len(request.token_ids)] = torch.tensor(request.token_ids, device=device)
        mask_PL = torch.arange(tokens_PL.shape[1], device=device) < lengths_P[:, None]
        prefix = Prefix.of(decoder, tokens_PL, mask_PL)
        rows = [
            Row(index, request.prompt_id, request.first_sample + s)
            for index, request in taken
            for s in range(request.samples)
        ]
        keys_N = torch.tensor([row_key(params.seed, row.prompt_id, row.sample) for row in rows], device=device)
        counts = torch.tensor([request.samples for _, request in taken], device=device)
        row_prompt_N = torch.arange(len(taken), device=device).repeat_interleave(counts)
        keys, values = ([x.contiguous() for x in xs] for xs in (prefix.keys, prefix.values))
        return Batch(rows, keys_N, prefix.last_hidden_PD[row_prompt_N], Cache(keys, values, lengths_P, row_prompt_N))

    def _decode(self, decoder: Decoder, batch: Batch, params: SamplingParams, steps: int) -> list[tuple[Row, int]]:
        """Write up to `steps` tokens of every row, then hand them to the rows in one go."""
        batch.cache.reserve(steps)
        tokens, logprobs, live = [], [], []
        for _ in range(steps):
            live.append(~batch.done_N)
            logits_NV = decoder.logits(batch.hidden_ND)
            token_N, logp_N = sample(logits_NV, batch.keys_N, batch.cache.lengths_N, params)
            tokens.append(token_N)
            logprobs.append(logp_N)
            positions_N1 = batch.cache.begin_step()
            batch.hidden_ND = decoder(token_N[:, None], positions_N1, batch.cache)[:, 0]
            batch.cache.end_step()
            finished_N = torch.isin(token_N, self.stop_ids) | (batch.cache.lengths_N >= params.max_tokens)
            batch.done_N = batch.done_N | finished_N
            if bool(batch.done_N.all()):
                break
        counts = torch.stack(live, dim=1).sum(1).tolist()
        written = zip(
            batch.rows, torch.stack(tokens, 1).tolist(), torch.stack(logprobs, 1).tolist(), counts, strict=True
        )
        grown = []
        for row, row_tokens, row_logprobs, count in written:
            if count:
                row.token_ids += row_tokens[:count]
                row.logprobs += row_logprobs[:count]
                grown.append((row, count))
        return grown

    def _stopped(self, row: Row) -> bool:
        return row.token_ids[-1] in self.stops

    def _completion(self, row: Row) -> Completion:
        stopped = self._stopped(row)
        text = self.tokenizer.decode(row.token_ids[:-1] if stopped else row.token_ids, skip_special_tokens=True)
        return Completion(
            prompt_id=row.prompt_id,
            sample=row.sample,
            token_ids=tuple(row.token_ids),
            logprobs=tuple(row.logprobs),
            text=text,
            finish_reason="stop" if stopped else "length",
            weights_version=self.version,
        )
