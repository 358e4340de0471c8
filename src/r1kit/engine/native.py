"""Generation with r1kit's own decoder: continuous batching, shared beginnings computed once, no Python work per token.

Shapes: P prompts, L padded length of what they do not have in common; others as in `engine.batch`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import Delta, Finished, Request, SamplingParams
from r1kit.engine.batch import TIDY_SHARE, Batch, Draft
from r1kit.engine.cache import ALIGN, Cache, Shared
from r1kit.engine.prepacked import prepacked
from r1kit.engine.sampler import row_key, sample
from r1kit.model.attention import Recorded, aligned
from r1kit.model.decoder import Decoder
from r1kit.model.prefix import WORTH_SHARING, Prefix, recorded
from r1kit.types import Completion

# Decode steps between looks at who has finished. Drafts that finish inside a block idle until its end.
BLOCK = 8
# Where prompts go on for no more than so many tokens after their common beginning, every row has a copy of those.
SHORT = 64


@dataclass(frozen=True, slots=True)
class Beginning:
    """What all prompts of a call begin with, and what is known of the rest of them."""

    length: int
    recorded: Recorded | None
    longest_rest: int

    @property
    def rest_is_short(self) -> bool:
        return aligned(self.longest_rest, ALIGN) <= SHORT


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
            for draft, _ in written:
                if len(draft.token_ids) < params.max_tokens and not self._stopped(draft):
                    continue
                whole[draft.request, draft.sample] = completion = self._completion(draft)
                if finished is not None:
                    finished(completion)
        return [whole[place] for place in sorted(whole)]

    def stream(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Delta]:
        """See `Engine.stream`."""
        for written in self._blocks(requests, params, steps=1):
            for draft, count in written:
                yield Delta(draft.prompt_id, draft.sample, draft.token_ids[len(draft.token_ids) - count :])

    @torch.inference_mode()
    def _blocks(
        self, requests: Sequence[Request], params: SamplingParams, steps: int
    ) -> Iterator[list[tuple[Draft, int]]]:
        """Decode `steps` tokens at a time; yields each draft that grew, and by how much."""
        decoder = prepacked(self.model)
        beginning = self._beginning(decoder, requests)
        waiting = deque(enumerate(requests))
        batch: Batch | None = None
        while waiting or batch:
            if waiting and (batch is None or len(batch.drafts) <= self.max_concurrent * (1 - TIDY_SHARE)):
                room = self.max_concurrent - (len(batch.drafts) if batch else 0)
                arrived = self._admit(decoder, beginning, waiting, room, params)
                if batch is None:
                    batch = arrived
                elif arrived is not None:
                    batch.join(arrived)
            yield self._decode(decoder, batch, params, steps)
            if bool(batch.done_R.all()):
                batch = None
            else:
                batch.drop_done()

    def _admit(
        self,
        decoder: Decoder,
        beginning: Beginning,
        waiting: deque[tuple[int, Request]],
        room: int,
        params: SamplingParams,
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
        return self._prefill(decoder, beginning, taken, params) if taken else None

    def _beginning(self, decoder: Decoder, requests: Sequence[Request]) -> Beginning:
        """What all requests begin with, where that is worth a pass; each keeps a token of its own."""
        common = len(os.path.commonprefix([request.token_ids for request in requests]))
        lengths = [len(request.token_ids) for request in requests] or [1]
        shortest, longest = min(lengths), max(lengths)
        length = min(common, shortest - 1) // ALIGN * ALIGN
        if length * (len(requests) - 1) < WORTH_SHARING:
            return Beginning(0, None, longest)
        tokens_T = torch.tensor(requests[0].token_ids[:length], device=self.stop_ids.device)
        return Beginning(length, recorded(decoder, tokens_T), longest - length)

    def _prefill(
        self, decoder: Decoder, beginning: Beginning, taken: list[tuple[int, Request]], params: SamplingParams
    ) -> Batch:
        """Every prompt computed once, and a draft for each of its samples."""
        drafts = [
            Draft(index, request.prompt_id, request.first_sample + s)
            for index, request in taken
            for s in range(request.samples)
        ]
        device = self.stop_ids.device
        keys_R = torch.tensor([row_key(params.seed, draft.prompt_id, draft.sample) for draft in drafts], device=device)
        samples_P = torch.tensor([request.samples for _, request in taken], device=device)
        row_R = torch.arange(len(taken), device=device).repeat_interleave(samples_P)
        return Batch(drafts, keys_R, row_R, *self._computed(decoder, beginning, [r.token_ids for _, r in taken]))

    def _computed(
        self, decoder: Decoder, beginning: Beginning, prompts: Sequence[tuple[int, ...]]
    ) -> tuple[Tensor, Cache]:
        """Last hidden states [P, D], and a cache whose rows are the prompts."""
        device = self.stop_ids.device
        lengths_P = torch.tensor([len(prompt) - beginning.length for prompt in prompts], device=device)
        longest = beginning.longest_rest if beginning.rest_is_short else int(lengths_P.max())
        tokens_PL = torch.zeros(len(prompts), aligned(longest, ALIGN), dtype=torch.long, device=device)
        for p, prompt in enumerate(prompts):
            tokens_PL[p, : len(prompt) - beginning.length] = torch.tensor(prompt[beginning.length :], device=device)
        mask_PL = torch.arange(tokens_PL.shape[1], device=device) < lengths_P[:, None]
        prefix = Prefix.after(beginning.recorded, decoder, tokens_PL, mask_PL)
        shared, prompts_P = [], torch.arange(len(prompts), device=device)
        if (begun := beginning.recorded) is not None:
            length_1 = torch.tensor([beginning.length], device=device)
            shared.append(Shared(begun.keys, begun.values, length_1, torch.zeros_like(prompts_P)))
        keys, values = ([x.contiguous() for x in xs] for xs in (prefix.keys, prefix.values))
        if not beginning.rest_is_short:
            shared.append(Shared(keys, values, lengths_P, prompts_P))
            keys, values = ([x[:, :, :0] for x in xs] for xs in (keys, values))
        return prefix.last_hidden_PD, Cache(shared, keys, values, beginning.length + lengths_P)

    def _decode(self, decoder: Decoder, batch: Batch, params: SamplingParams, steps: int) -> list[tuple[Draft, int]]:
        """Write up to `steps` tokens of every draft, then hand them over in one go."""
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
            token_N = batch.part(token_R)
            positions_N1 = batch.cache.begin_step()
            batch.hidden_ND = decoder(token_N[:, None], positions_N1, batch.cache)[:, 0]
            batch.cache.end_step()
        counts = torch.stack(live, dim=1).sum(1).tolist()
        written = zip(
            batch.drafts, torch.stack(tokens, 1).tolist(), torch.stack(logprobs, 1).tolist(), counts, strict=True
        )
        grown = []
        for draft, draft_tokens, draft_logprobs, count in written:
            if count:
                draft.token_ids += draft_tokens[:count]
                draft.logprobs += draft_logprobs[:count]
                grown.append((draft, count))
        return grown

    def _stopped(self, draft: Draft) -> bool:
        return draft.token_ids[-1] in self.stops

    def _completion(self, draft: Draft) -> Completion:
        stopped = self._stopped(draft)
        text = self.tokenizer.decode(draft.token_ids[:-1] if stopped else draft.token_ids, skip_special_tokens=True)
        return Completion(
            prompt_id=draft.prompt_id,
            sample=draft.sample,
            token_ids=tuple(draft.token_ids),
            logprobs=tuple(draft.logprobs),
            text=text,
            finish_reason="stop" if stopped else "length",
            weights_version=self.version,
        )
