"""What engines share that decode several tokens at a time: finished completions, memory, stop strings, streams.

Shapes: R completions.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.console import say, warn
from r1kit.engine.base import CollectingEngine, Request, SamplingParams
from r1kit.engine.batch import PartialCompletion
from r1kit.engine.decoding import Decodable, Drawn, decode_block
from r1kit.engine.fused.choice import sample
from r1kit.engine.schedule import Capacity
from r1kit.engine.stops import stop_tokens
from r1kit.errors import UserError, is_out_of_memory
from r1kit.machine import free_memory
from r1kit.model.policy import Policy
from r1kit.types import Completion

# Decode steps between checks for finished completions. Those that finish inside a block idle until its end.
DECODE_BLOCK = 8


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


class SampledRows(Decodable, Protocol):
    """Completions that are decoded together, with their random keys and the distribution of each."""

    completions: list[PartialCompletion]
    keys_R: Tensor

    @property
    def row_R(self) -> Tensor | None:
        """The distribution of each completion; None if every completion has its own."""
        ...


class BlockEngine(CollectingEngine):
    """Generates with the module it is given. When the learner holds the same module, no weights are copied."""

    def __init__(
        self,
        model: Policy,
        tokenizer: PreTrainedTokenizerBase,
        max_concurrent: int = 512,
        kv_cache_tokens: int | None = None,
    ) -> None:
        self.model, self.tokenizer, self.capacity = model, tokenizer, Capacity(max_concurrent, kv_cache_tokens)
        self.version = 0
        self.warned = False  # about lengths
        self.stops = stop_tokens(model.config, tokenizer)
        self.stop_ids = torch.tensor(sorted(self.stops), device=model.device)

    def load_weights(self, model: Policy, version: int) -> None:
        """See `Engine.load_weights`."""
        self.model, self.version = model, version

    def finished(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[tuple[int, Completion]]:
        """See `Engine.finished`.

        When memory runs out, the number of completions at a time is halved permanently, and what is unfinished is
        sampled again: a completion does not depend on the others.
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
                if self.capacity.completions == 1:
                    raise _out_of_memory(requests) from error
            # Outside the except clause, nothing references the cache of the failed attempt.
            waiting = [*_unfinished(waiting, done)]
            at_once = min(self.capacity.completions, sum(part.samples for _, part in waiting))
            self.capacity.completions = max(1, at_once // 2)
            say(f"out of memory: continuing with max_concurrent = {self.capacity.completions} (same completions)")
            free_memory()

    def _blocks(
        self, requests: Sequence[Request], parts: Sequence[tuple[int, Request]], params: SamplingParams, steps: int
    ) -> Iterator[list[tuple[PartialCompletion, int]]]:
        """Decode `steps` tokens at a time. Yield the completions that grew, and by how many tokens.

        `parts` are those samples of `requests` that are wanted, with the index of their request.
        """
        raise NotImplementedError

    def _warn_beyond_positions(self, requests: Sequence[Request], params: SamplingParams) -> None:
        """Say once if the longest prompt and its completion have more tokens than the model has positions."""
        positions = self.model.config.max_position_embeddings
        longest = max(requests, key=lambda request: len(request.token_ids), default=None)
        if self.warned or longest is None or len(longest.token_ids) + params.max_tokens <= positions:
            return
        self.warned = True
        warn(
            f"the longest prompt has {len(longest.token_ids):,} tokens (problem {longest.prompt_id}) and "
            f"max_completion_length = {params.max_tokens:,}: together more than the model's {positions:,} positions, "
            "beyond which it may write nonsense"
        )

    def _decode(
        self, model: Policy, batch: SampledRows, params: SamplingParams, steps: int
    ) -> list[tuple[PartialCompletion, int]]:
        """Sample up to `steps` tokens of every completion. Return those that grew, and by how many tokens."""

        def draw(logits_NV: Tensor, lengths_R: Tensor) -> Drawn:
            token_R, logp_R = sample(logits_NV, batch.keys_R, lengths_R, params, batch.row_R)
            return Drawn(token_R, logp_R, torch.isin(token_R, self.stop_ids) | (lengths_R + 1 >= params.max_tokens))

        grown = []
        block = decode_block(model, batch, steps, draw)
        for i, (partial, sampled) in enumerate(zip(batch.completions, block.rows(), strict=True)):
            if count := partial.extend(*sampled, params.stop, self.tokenizer):
                grown.append((partial, count))
                batch.done_R[i] |= partial.at_stop_string
        return grown

    def _stopped(self, partial: PartialCompletion) -> bool:
        return partial.at_stop_string or partial.token_ids[-1] in self.stops

    def _completion(self, partial: PartialCompletion) -> Completion:
        return finished_completion(partial, self.stops, self.tokenizer, self.version)


def finished_completion(
    partial: PartialCompletion, stops: Container[int], tokenizer: PreTrainedTokenizerBase, version: int
) -> Completion:
    """Return the completion that has been sampled.

    Args:
        partial: Its tokens.
        stops: Ids of the tokens that end a completion.
        tokenizer: The tokenizer that decodes it.
        version: Version of the weights that sampled it.
    """
    ends_with_eos = partial.token_ids[-1] in stops
    visible = partial.token_ids[:-1] if ends_with_eos else partial.token_ids
    return Completion(
        prompt_id=partial.prompt_id,
        sample=partial.sample,
        token_ids=tuple(partial.token_ids),
        logprobs=tuple(partial.logprobs),
        text=str(tokenizer.decode(visible, skip_special_tokens=True)),
        finish_reason="stop" if ends_with_eos or partial.at_stop_string else "length",
        weights_version=version,
    )
