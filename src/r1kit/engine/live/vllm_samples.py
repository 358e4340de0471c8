"""What a live request asks of vLLM, and what its answers add to a sample. No part of vLLM is imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import nan
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import Request
from r1kit.engine.live.base import Constraint, ConstraintError, LiveRequest
from r1kit.engine.live.draw import LiveSample
from r1kit.engine.vllm.samples import VllmEngine


class Step(NamedTuple):
    """What vLLM says of one token."""

    token: int
    logprob: float
    likeliest: list[tuple[int, float]]


def asked_of(engine: VllmEngine, request: LiveRequest, index: int) -> dict[str, Any]:
    """Return vLLM's sampling parameters for one sample, without its constraint.

    Later turns of an episode have seeds of their own: vLLM counts the random numbers of each request from 0.
    """
    turn = f"@{request.first_position}" if request.first_position else ""
    plain = Request(request.prompt_id + turn, request.token_ids)
    return engine.asked(plain, index, request.params) | {"logprobs": request.top_logprobs}


def structure(constraint: Constraint | None) -> dict[str, Any] | None:
    """Return vLLM's parameters of structured outputs; None without a constraint that must be followed."""
    if constraint is None or constraint.optional:
        return None
    if constraint.kind == "lark":
        raise ConstraintError('a grammar, such as tool_choice = "required" needs: use engine = "native"')
    if constraint.after is not None:
        raise ConstraintError(
            f'a constraint that begins after {constraint.after!r}: vLLM cannot do that here. Use engine = "native", or '
            "let the constraint begin at once"
        )
    if constraint.kind == "json_object":
        return {"json_object": True}
    if constraint.kind == "regex":
        return {"regex": constraint.source}
    try:
        return {"json": json.loads(constraint.source)}
    except ValueError as error:
        raise ConstraintError(f"json_schema: not JSON: {error}") from error


def extend(sample: LiveSample, steps: Sequence[Step], tokenizer: PreTrainedTokenizerBase) -> None:
    """Add sampled tokens.

    vLLM's log-probabilities are those after truncation and constraint. Where there is one, they become NaN: unknown.
    """
    request = sample.asked
    known = request.params.top_p == 1 and request.params.top_k == 0 and structure(request.constraint) is None
    logprobs = [step.logprob if known else nan for step in steps]
    added = sample.extend([step.token for step in steps], logprobs, request.params.stop, tokenizer)
    for step in steps[:added] if request.top_logprobs else ():
        likeliest = step.likeliest[: request.top_logprobs]
        sample.top_logprobs.append([(token, logprob if known else nan) for token, logprob in likeliest])
