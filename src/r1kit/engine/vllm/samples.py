"""What vLLM is asked for one sample, and what its answer becomes. No part of vLLM is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import CollectingEngine, Request, SamplingParams
from r1kit.engine.batch import PartialCompletion
from r1kit.engine.blocks import finished_completion
from r1kit.engine.sampler import row_key
from r1kit.engine.stops import stop_tokens
from r1kit.engine.vllm.proof import ANSWERS, TEMPERATURE
from r1kit.errors import UserError
from r1kit.model.policy import Policy
from r1kit.types import Completion

# One token behind a probe, and the likeliest ones.
PROBE: Mapping[str, Any] = {
    "temperature": TEMPERATURE,
    "seed": 0,
    "max_tokens": 1,
    "logprobs": ANSWERS,
    "detokenize": False,
    "ignore_eos": True,
}


class Place(NamedTuple):
    """One completion of a call."""

    request: int
    sample: int


class VllmEngine(CollectingEngine):
    """What the engines have in common that vLLM runs for."""

    def __init__(self, model: Policy, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.version = tokenizer, 0
        self.stops = stop_tokens(model.config, tokenizer)

    def asked(self, request: Request, sample: int, params: SamplingParams) -> dict[str, Any]:
        """Return vLLM's sampling parameters for one sample, without stop strings.

        Each has a seed of its own: vLLM would give the n samples of one request the seeds s, s + 1, ..., which samples
        of another request may have too.
        """
        return {
            "seed": row_key(params.seed, request.prompt_id, sample),
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "max_tokens": params.max_tokens,
            "logprobs": 0,  # of the sampled token only
            "stop_token_ids": sorted(self.stops),
            "ignore_eos": True,  # the tokens that end a completion are those above
            "detokenize": False,
        }

    def extend(
        self, partial: PartialCompletion, token_ids: Sequence[int], logprobs: Sequence[float], params: SamplingParams
    ) -> bool:
        """Add sampled tokens to a completion, up to its first stop string. Return whether it has one.

        With top_p or top_k, vLLM's log-probabilities are those of the truncated distribution, which are not what a
        learner divides by: they become NaN. A recipe refuses to train with them.
        """
        known = [nan] * len(token_ids) if params.top_p < 1 or params.top_k else logprobs
        partial.extend(token_ids, known, params.stop, self.tokenizer)
        return partial.at_stop_string

    def completion(self, partial: PartialCompletion) -> Completion:
        """Return the completion that has been sampled."""
        return finished_completion(partial, self.stops, self.tokenizer, self.version)


def places(requests: Sequence[Request]) -> Iterator[Place]:
    """Yield every completion that is asked for."""
    for index, request in enumerate(requests):
        for sample in range(request.first_sample, request.first_sample + request.samples):
            yield Place(index, sample)


def check_lengths(requests: Sequence[Request], params: SamplingParams, limit: int, where: str) -> None:
    """Raise UserError if a prompt and its completion may be longer than vLLM was started for: it would cut them."""
    longest = max((len(request.token_ids) for request in requests), default=0)
    if longest + params.max_tokens > limit:
        raise UserError(
            f"{where}: the longest prompt has {longest:,} tokens and max_completion_length = {params.max_tokens:,}: "
            f"together more than the {limit:,} tokens that vLLM was started for. Lower max_completion_length, leave "
            "out long problems, or give vLLM a larger max_model_len"
        )
