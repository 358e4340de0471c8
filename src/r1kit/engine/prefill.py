"""Prompts computed before their completions are decoded, and interrupted completions computed again.

Shapes: P prompts, L padded length of what follows their common prefix; others as in `engine.batch`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from r1kit.engine.base import Request
from r1kit.engine.cache import ALIGN, KVCache
from r1kit.engine.shared_prefix import SharedPrefix, grown
from r1kit.model.attention import RecordingAttention, round_up
from r1kit.model.decoder import Decoder
from r1kit.model.prefix import MIN_SAVED_TOKENS, PromptCache, prefill

# Prompt suffixes up to this many tokens (behind the common prefix) are copied to every row instead of shared.
MAX_COPIED_SUFFIX = 64


@dataclass(frozen=True, slots=True)
class CommonPrefix:
    """The tokens that all prompts of a call begin with, computed once, and the length of the longest suffix."""

    length: int
    recorded: RecordingAttention | None  # None when the length is 0
    longest_suffix: int

    @classmethod
    def compute(cls, decoder: Decoder, requests: Sequence[Request]) -> CommonPrefix:
        """Compute the common prefix of all prompts, where that pays. Every prompt keeps at least its last token."""
        common = len(os.path.commonprefix([request.token_ids for request in requests]))  # noqa: RUF071 - of tuples
        lengths = [len(request.token_ids) for request in requests] or [1]
        shortest, longest = min(lengths), max(lengths)
        length = min(common, shortest - 1) // ALIGN * ALIGN
        if length * (len(requests) - 1) < MIN_SAVED_TOKENS:
            return cls(0, None, longest)
        tokens_T = torch.tensor(requests[0].token_ids[:length], device=decoder.embed.weight.device)
        return cls(length, prefill(decoder, tokens_T), longest - length)

    @property
    def copies_suffixes(self) -> bool:
        """Whether rows hold copies of their prompts' suffixes."""
        return round_up(self.longest_suffix, ALIGN) <= MAX_COPIED_SUFFIX

    @property
    def copied_tokens(self) -> int:
        """The tokens of a row that hold a copy of its prompt's suffix."""
        return round_up(self.longest_suffix, ALIGN) if self.copies_suffixes else 0

    def shared_tokens(self, request: Request) -> int:
        """Return the tokens that a prompt takes in the cache once for all its samples."""
        return 0 if self.copies_suffixes else round_up(len(request.token_ids) - self.length, ALIGN)


def prompt_states(
    decoder: Decoder, prefix: CommonPrefix, prompts: Sequence[tuple[int, ...]], max_tokens: int
) -> tuple[Tensor, KVCache]:
    """Return the last hidden states [P, D] of the prompts, and a cache with one row for each.

    The cache is for completions of at most `max_tokens` tokens.
    """
    device = decoder.embed.weight.device
    lengths_P = torch.tensor([len(prompt) - prefix.length for prompt in prompts], device=device)
    longest = prefix.longest_suffix if prefix.copies_suffixes else int(lengths_P.max())
    tokens_PL = torch.zeros(len(prompts), round_up(longest, ALIGN), dtype=torch.long, device=device)
    for p, prompt in enumerate(prompts):
        tokens_PL[p, : len(prompt) - prefix.length] = torch.tensor(prompt[prefix.length :], device=device)
    mask_PL = torch.arange(tokens_PL.shape[1], device=device) < lengths_P[:, None]
    suffixes = PromptCache.compute_after(prefix.recorded, decoder, tokens_PL, mask_PL)
    keys, values = ([x.contiguous() for x in xs] for xs in (suffixes.keys, suffixes.values))
    cache = _cache(decoder, prefix, keys, values, lengths_P, torch.zeros_like(lengths_P), max_tokens)
    return suffixes.last_hidden_PD, cache


def resumed_state(
    decoder: Decoder, prefix: CommonPrefix, prompt: tuple[int, ...], sampled: Sequence[int], max_tokens: int
) -> tuple[Tensor, KVCache]:
    """Return what `prompt_states` does, for one prompt and the tokens sampled after it.

    Computed in one pass from the first token on, so that no mask is needed, whose size is quadratic.
    """
    tokens_T = torch.tensor([*prompt, *sampled], device=decoder.embed.weight.device)
    states = PromptCache.compute_after(None, decoder, tokens_T[None], torch.ones_like(tokens_T[None]))
    suffix = len(prompt) - prefix.length
    width = prefix.copied_tokens or round_up(suffix, ALIGN)

    def place(x: Tensor) -> Tensor:
        """Put the sampled tokens behind the padded suffix."""
        suffix_1KLE, sampled_1KCE = x[:, :, prefix.length : len(prompt)], x[:, :, len(prompt) :]
        return torch.cat((grown(suffix_1KLE, 1, width), grown(sampled_1KCE, 1, round_up(len(sampled), ALIGN))), dim=2)

    keys, values = ([place(x) for x in xs] for xs in (states.keys, states.values))
    lengths_1, sampled_1 = tokens_T.new_tensor([suffix]), tokens_T.new_tensor([len(sampled)])
    return states.last_hidden_PD, _cache(decoder, prefix, keys, values, lengths_1, sampled_1, max_tokens)


def _cache(
    decoder: Decoder,
    prefix: CommonPrefix,
    keys: list[Tensor],
    values: list[Tensor],
    suffix_P: Tensor,
    sampled_P: Tensor,
    max_tokens: int,
) -> KVCache:
    """Return the cache of these suffixes, each padded and followed by its sampled tokens: per layer [P, K, L, E]."""
    prompts_P, prefixes = torch.arange(len(suffix_P), device=suffix_P.device), []
    sampled_from = keys[0].shape[2] - round_up(int(sampled_P.max()), ALIGN)
    if prefix.recorded is not None:
        length_1 = suffix_P.new_tensor([prefix.length])
        common = (prefix.recorded.keys, prefix.recorded.values)
        prefixes.append(SharedPrefix(*common, length_1, torch.zeros_like(prompts_P)))
    if not prefix.copies_suffixes:
        shared_k, shared_v = ([x[:, :, :sampled_from] for x in xs] for xs in (keys, values))
        prefixes.append(SharedPrefix(shared_k, shared_v, suffix_P, prompts_P))
        keys, values = ([x[:, :, sampled_from:] for x in xs] for xs in (keys, values))
        sampled_from = 0
    most = sampled_from + round_up(max_tokens, ALIGN)
    starts_P, products = prefix.length + suffix_P, not decoder.fused_steps
    return KVCache(prefixes, keys, values, starts_P, sampled_from, sampled_P, most=most, reads_capacity=products)
