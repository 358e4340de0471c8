"""The interface of live engines: requests join while others are decoded, and leave at any time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from r1kit.engine.base import SamplingParams
from r1kit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ConstraintKind = Literal["json_object", "json_schema", "regex", "lark"]
FinishReason = Literal["stop", "length", "error"]
MAX_TOP_LOGPROBS = 20


class ConstraintError(UserError):
    """A constraint that is invalid, too complex, or that this engine cannot follow."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A grammar that a completion must match; the completion ends where the grammar does."""

    kind: ConstraintKind
    source: str = ""  # the JSON Schema as JSON, the regular expression, or the grammar as llguidance's Lark
    after: str | None = None  # the constraint begins behind the first occurrence of this text; None: at once
    optional: bool = False  # an engine that cannot follow it ignores it


@dataclass(slots=True, eq=False)
class ComputedPrompt:
    """Keys and values of a prompt, for later prompts that begin with it: the turns of an episode. An engine fills it.

    The one that holds it decides how long it takes memory, which is not counted in the KV cache.
    """

    length: int = 0  # tokens; 0 before it is computed, and always where an engine keeps none
    keys: list[Tensor] = field(default_factory=list)  # per layer [K, L, E]
    values: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """A tokenised prompt and how its samples are drawn, independently of all other requests."""

    id: str
    token_ids: tuple[int, ...]
    params: SamplingParams
    samples: int = 1  # they share the computation of the prompt
    first_sample: int = 0  # indices are first_sample .. first_sample + samples - 1, part of the random key
    first_position: int = 0  # of the first token, for its random number: later turns of an episode count on
    prompt_id: str = "question"  # part of every sample's random key: that of `r1kit sample`
    top_logprobs: int = 0  # likeliest tokens reported with each token, up to MAX_TOP_LOGPROBS
    constraint: Constraint | None = None
    begins_with: ComputedPrompt | None = None  # what is known of the prompt, less than all of it
    keep: ComputedPrompt | None = None  # where the prompt is kept


@dataclass(frozen=True, slots=True)
class LiveDelta:
    """Tokens just added to one sample of a request.

    The tokens are those of `engine.base.Completion`: an EOS token that ends the sample is included, and so is the token
    that completes a stop string.
    """

    id: str
    sample: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """One per token, under the tempered distribution before top-p, top-k and constraint; NaN if unknown."""
    top_logprobs: list[list[tuple[int, float]]] = field(default_factory=list)
    """One list per token if asked for: (token, log-probability) under the same distribution, the likeliest first."""
    finish_reason: FinishReason | None = None
    """None while the sample goes on. It is in no later delta."""
    error: Exception | None = None
    """What went wrong, if the finish reason is "error". A UserError would come again with the same request."""


class LiveEngine(Protocol):
    """Decodes requests that come and go. One thread owns an engine and calls all of its methods."""

    @property
    def context_length(self) -> int:
        """Tokens that a prompt and its completion may have together."""
        ...

    @property
    def has_work(self) -> bool:
        """Whether some sample is not finished."""
        ...

    def add(self, request: LiveRequest) -> None:
        """Queue a request. Its samples join those that are decoded as soon as memory allows, in order of arrival.

        Raises:
            UserError: The request cannot be answered, with the reason; `step` never raises for a request.
        """
        ...

    def cancel(self, request_id: str) -> None:
        """Drop a request and free its memory. No later delta has its id. Unknown ids are ignored."""
        ...

    def step(self) -> list[LiveDelta]:
        """Decode a few tokens of everything that runs. Return the samples that grew or finished."""
        ...

    def close(self) -> None:
        """Free what the engine holds outside this process, such as connections."""
        ...


def check_request(request: LiveRequest, context_length: int, vocabulary: int) -> None:
    """Raise UserError for parameters that no engine accepts, and for a prompt that is too long."""
    params, length = request.params, len(request.token_ids)
    limits = {
        "samples": (request.samples, request.samples >= 1, "at least 1"),
        "first_sample": (request.first_sample, request.first_sample >= 0, "at least 0"),
        "first_position": (request.first_position, request.first_position >= 0, "at least 0"),
        "top_logprobs": (
            request.top_logprobs,
            0 <= request.top_logprobs <= MAX_TOP_LOGPROBS,
            f"from 0 to {MAX_TOP_LOGPROBS}",
        ),
        "max_tokens": (params.max_tokens, params.max_tokens >= 1, "at least 1"),
        "temperature": (params.temperature, 0 <= params.temperature <= 100, "from 0 to 100"),
        "top_p": (params.top_p, 0 < params.top_p <= 1, "above 0 and at most 1"),
        "top_k": (params.top_k, params.top_k >= 0, "at least 0 (0 keeps all tokens)"),
        "stop": (params.stop, all(params.stop), "texts that are not empty"),
    }
    for name, (value, is_valid, allowed) in limits.items():
        if not is_valid:
            raise UserError(f"{name} = {value!r}: must be {allowed}")
    constraint = request.constraint or Constraint("json_object")
    for text in (*params.stop, constraint.source, constraint.after or ""):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UserError(f"{text[:50]!r}: half a character (a lone surrogate): use complete Unicode characters")
    if not length:
        raise UserError("the prompt is empty: it must have at least one token")
    if not all(0 <= token < vocabulary for token in request.token_ids):
        raise UserError(f"the prompt has token ids outside the model's vocabulary of {vocabulary:,}")
    if length + params.max_tokens > context_length:
        raise UserError(
            f"the prompt has {length:,} tokens and max_tokens = {params.max_tokens:,}: together more than the model's "
            f"{context_length:,} positions. Shorten the prompt or lower max_tokens"
        )
