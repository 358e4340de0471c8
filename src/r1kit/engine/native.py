"""Generation with r1kit's own decoder: continuous batching, shared prefixes, no Python work per token.

Shapes: P prompts, L padded length of what follows their common prefix; others as in `engine.batch`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.console import say
from r1kit.engine.base import Delta, Finished, Request, SamplingParams
from r1kit.engine.batch import COMPACT_SHARE, Batch, PartialCompletion
from r1kit.engine.cache import ALIGN, KVCache
from r1kit.engine.prepacked import prepacked
from r1kit.engine.sampler import row_key, sample
from r1kit.engine.shared_prefix import SharedPrefix
from r1kit.engine.stops import stop_length, stop_tokens
from r1kit.errors import UserError, is_out_of_memory
from r1kit.machine import free_memory
from r1kit.model.attention import RecordingAttention, round_up
from r1kit.model.decoder import Decoder
from r1kit.model.prefix import MIN_SAVED_TOKENS, PromptCache, prefill
from r1kit.types import Completion

# Decode steps between checks for finished completions. Those that finish inside a block idle until its end.
DECODE_BLOCK = 8
# Prompt suffixes up to this many tokens (behind the common prefix) are copied to every row instead of shared.
MAX_COPIED_SUFFIX = 64


@dataclass(frozen=True, slots=True)
class CommonPrefix:
    """The tokens that all prompts of a call begin with, computed once, and the length of the longest suffix."""

    length: int
    recorded: RecordingAttention | None  # None when the length is 0
    longest_suffix: int

    @property
    def copies_suffixes(self) -> bool:
        """Whether rows hold copies of their prompts' suffixes."""
        return round_up(self.longest_suffix, ALIGN) <= MAX_COPIED_SUFFIX


def _out_of_memory(requests: Sequence[Request]) -> UserError:
    longest = max(requests, key=lambda request: len(request.token_ids))
    return UserError(
        f"out of memory while sampling one completion at a time; the longest prompt has {len(longest.token_ids):,} "
        f"tokens (problem {longest.prompt_id}): leave out long problems, lower the maximum length of a completion, or "
        "use a smaller model"
    )


def _unfinished(
    parts: Sequence[tuple[int, Request]], done: Container[tuple[int, int]]
) -> Iterator[tuple[int, Request]]:
    """Yield the samples of these requests that are not done, as requests for runs of consecutive samples."""
    for index, request in parts:
        samples = range(request.first_sample, request.first_sample + request.samples)
        missing = [sample for sample in samples if (index, sample) not in done]
        for _, run in groupby(enumerate(missing), key=lambda place: place[1] - place[0]):
            (_, first), *others = run
            yield index, replace(request, samples=1 + len(others), first_sample=first)


class NativeEngine:
    """Generates with the module it is given. When the learner holds the same module, no weights are copied."""

    def __init__(self, model: Decoder, tokenizer: PreTrainedTokenizerBase, max_concurrent: int = 512) -> None:
        self.model, self.tokenizer, self.max_concurrent = model, tokenizer, max_concurrent
        self.version = 0
        self.warned = False  # about lengths
        self.stops = stop_tokens(model.config, tokenizer)
        self.stop_ids = torch.tensor(sorted(self.stops), device=model.embed.weight.device)

    def load_weights(self, model: Decoder, version: int) -> None:
        """See `Engine.load_weights`."""
        self.model, self.version = model, version

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, on_finished: Finished | None = None
    ) -> list[Completion]:
        """See `Engine.generate`."""
        completions: dict[tuple[int, int], Completion] = {}  # (request, sample) -> completion
        for request, completion in self.finished(requests, params):
            completions[request, completion.sample] = completion
            if on_finished is not None:
                on_finished(completion)
        return [completions[place] for place in sorted(completions)]

    def finished(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[tuple[int, Completion]]:
        """See `Engine.finished`.

        When memory runs out, `max_concurrent` is halved permanently, and what is unfinished is sampled again: a
        completion does not depend on the others.
        """
        waiting, done = list(enumerate(requests)), set[tuple[int, int]]()  # (request, sample)
        while waiting:
            try:
                for partial, _ in chain.from_iterable(self._blocks(requests, waiting, params, DECODE_BLOCK)):
                    if len(partial.token_ids) >= params.max_tokens or self._stopped(partial):
                        done.add((partial.request, partial.sample))
                        yield partial.request, self._completion(partial)
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.max_concurrent == 1:
                    raise _out_of_memory(requests) from error
            # Outside the except clause, nothing references the cache of the failed attempt.
            waiting = [*_unfinished(waiting, done)]
            self.max_concurrent = max(1, min(self.max_concurrent, sum(part.samples for _, part in waiting)) // 2)
            say(f"out of memory: continuing with max_concurrent = {self.max_concurrent} (same completions)")
            free_memory()

    def stream(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Delta]:
        """See `Engine.stream`."""
        for partial, count in chain.from_iterable(self._blocks(requests, [*enumerate(requests)], params, steps=1)):
            yield Delta(partial.prompt_id, partial.sample, partial.token_ids[len(partial.token_ids) - count :])

    @torch.inference_mode()
    def _blocks(
        self, requests: Sequence[Request], parts: Sequence[tuple[int, Request]], params: SamplingParams, steps: int
    ) -> Iterator[list[tuple[PartialCompletion, int]]]:
        """Decode `steps` tokens at a time. Yield the completions that grew, and by how many tokens.

        `parts` are those samples of `requests` that are wanted, with the index of their request.
        """
        self._warn_beyond_positions(requests, params)
        decoder = prepacked(self.model)
        prefix = self._common_prefix(decoder, requests)
        waiting = deque(parts)
        batch: Batch | None = None
        while waiting or batch is not None:
            if waiting and (batch is None or len(batch.completions) <= self.max_concurrent * (1 - COMPACT_SHARE)):
                room = self.max_concurrent - (len(batch.completions) if batch is not None else 0)
                admitted = self._admit(decoder, prefix, waiting, room, params)
                if batch is None:
                    batch = admitted
                elif admitted is not None:
                    batch.extend(admitted)
            assert batch is not None, "an empty engine admits at least one completion"
            yield self._decode(decoder, batch, params, steps)
            if bool(batch.done_R.all()):
                batch = None
            else:
                batch.drop_finished()

    def _warn_beyond_positions(self, requests: Sequence[Request], params: SamplingParams) -> None:
        """Say once if the longest prompt and its completion have more tokens than the model has positions."""
        positions = self.model.config.max_position_embeddings
        longest = max(requests, key=lambda request: len(request.token_ids), default=None)
        if self.warned or longest is None or len(longest.token_ids) + params.max_tokens <= positions:
            return
        self.warned = True
        say(
            f"warning: the longest prompt has {len(longest.token_ids):,} tokens (problem {longest.prompt_id}) and "
            f"max_completion_length = {params.max_tokens:,}: together more than the model's {positions:,} positions, "
            "beyond which it may write nonsense"
        )

    def _admit(
        self,
        decoder: Decoder,
        prefix: CommonPrefix,
        waiting: deque[tuple[int, Request]],
        room: int,
        params: SamplingParams,
    ) -> Batch | None:
        """Prefill the next requests whose samples all fit. Requests larger than the engine are split."""
        admitted: list[tuple[int, Request]] = []
        while waiting and room > 0:
            index, request = waiting[0]
            if request.samples > room:
                if admitted or request.samples <= self.max_concurrent:
                    break
                rest = replace(request, samples=request.samples - room, first_sample=request.first_sample + room)
                request = replace(request, samples=room)
                waiting[0] = (index, rest)
            else:
                waiting.popleft()
            admitted.append((index, request))
            room -= request.samples
        return self._prefill(decoder, prefix, admitted, params) if admitted else None

    def _common_prefix(self, decoder: Decoder, requests: Sequence[Request]) -> CommonPrefix:
        """Compute the common prefix of all prompts, where that pays. Every prompt keeps at least its last token."""
        common = len(os.path.commonprefix([request.token_ids for request in requests]))  # noqa: RUF071 - of tuples
        lengths = [len(request.token_ids) for request in requests] or [1]
        shortest, longest = min(lengths), max(lengths)
        length = min(common, shortest - 1) // ALIGN * ALIGN
        if length * (len(requests) - 1) < MIN_SAVED_TOKENS:
            return CommonPrefix(0, None, longest)
        tokens_T = torch.tensor(requests[0].token_ids[:length], device=self.stop_ids.device)
        return CommonPrefix(length, prefill(decoder, tokens_T), longest - length)

    def _prefill(
        self, decoder: Decoder, prefix: CommonPrefix, admitted: list[tuple[int, Request]], params: SamplingParams
    ) -> Batch:
        """Compute every prompt once and return a batch of all samples, one cache row per prompt."""
        completions = [
            PartialCompletion(index, request.prompt_id, request.first_sample + s)
            for index, request in admitted
            for s in range(request.samples)
        ]
        device = self.stop_ids.device
        keys_R = torch.tensor([row_key(params.seed, c.prompt_id, c.sample) for c in completions], device=device)
        samples_P = torch.tensor([request.samples for _, request in admitted], device=device)
        row_R = torch.arange(len(admitted), device=device).repeat_interleave(samples_P)
        hidden_PD, cache = self._prompt_states(decoder, prefix, [request.token_ids for _, request in admitted])
        return Batch(completions, keys_R, row_R, hidden_PD, cache)

    def _prompt_states(
        self, decoder: Decoder, prefix: CommonPrefix, prompts: Sequence[tuple[int, ...]]
    ) -> tuple[Tensor, KVCache]:
        """Return the last hidden states [P, D] of the prompts, and a cache with one row for each."""
        device = self.stop_ids.device
        lengths_P = torch.tensor([len(prompt) - prefix.length for prompt in prompts], device=device)
        longest = prefix.longest_suffix if prefix.copies_suffixes else int(lengths_P.max())
        tokens_PL = torch.zeros(len(prompts), round_up(longest, ALIGN), dtype=torch.long, device=device)
        for p, prompt in enumerate(prompts):
            tokens_PL[p, : len(prompt) - prefix.length] = torch.tensor(prompt[prefix.length :], device=device)
        mask_PL = torch.arange(tokens_PL.shape[1], device=device) < lengths_P[:, None]
        suffixes = PromptCache.compute_after(prefix.recorded, decoder, tokens_PL, mask_PL)
        prefixes, prompts_P = [], torch.arange(len(prompts), device=device)
        if prefix.recorded is not None:
            length_1 = torch.tensor([prefix.length], device=device)
            common = (prefix.recorded.keys, prefix.recorded.values)
            prefixes.append(SharedPrefix(*common, length_1, torch.zeros_like(prompts_P)))
        keys, values = ([x.contiguous() for x in xs] for xs in (suffixes.keys, suffixes.values))
        if not prefix.copies_suffixes:
            prefixes.append(SharedPrefix(keys, values, lengths_P, prompts_P))
            keys, values = ([x[:, :, :0] for x in xs] for xs in (keys, values))
        return suffixes.last_hidden_PD, KVCache(prefixes, keys, values, prefix.length + lengths_P)

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
        counts = torch.stack(live, dim=1).sum(1).tolist()
        sampled = (torch.stack(tokens, 1).tolist(), torch.stack(logprobs, 1).tolist())
        grown = []
        for i, (partial, new_tokens, new_logprobs, count) in enumerate(
            zip(batch.completions, *sampled, counts, strict=True)
        ):
            if count:
                before = len(partial.token_ids)
                partial.token_ids += new_tokens[:count]
                partial.logprobs += new_logprobs[:count]
                if (length := stop_length(partial.token_ids, before, params.stop, self.tokenizer)) is not None:
                    del partial.token_ids[length:], partial.logprobs[length:]
                    partial.at_stop_string = True
                    batch.done_R[i] = True
                grown.append((partial, len(partial.token_ids) - before))
        return grown

    def _stopped(self, partial: PartialCompletion) -> bool:
        return partial.at_stop_string or partial.token_ids[-1] in self.stops

    def _completion(self, partial: PartialCompletion) -> Completion:
        stopped = self._stopped(partial)
        ends_with_eos = partial.token_ids[-1] in self.stops
        visible = partial.token_ids[:-1] if ends_with_eos else partial.token_ids
        text = str(self.tokenizer.decode(visible, skip_special_tokens=True))
        return Completion(
            prompt_id=partial.prompt_id,
            sample=partial.sample,
            token_ids=tuple(partial.token_ids),
            logprobs=tuple(partial.logprobs),
            text=text,
            finish_reason="stop" if stopped else "length",
            weights_version=self.version,
        )
