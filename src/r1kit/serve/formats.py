"""The JSON of answers: complete, or in chunks. Fields are those of OpenAI's API, and `seed` and `reasoning_content`."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import r1kit
from r1kit.serve.calling.parser import call_entry
from r1kit.serve.generation import Generation
from r1kit.serve.requests import StreamOptions
from r1kit.serve.sample import Piece, Token
from r1kit.tools.base import ToolCall

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST_LOGPROB = -9999.0  # JSON has no infinity

Json = dict[str, Any]


@dataclass
class _Whole:
    """A completion as it is collected."""

    reasoning: str = ""
    content: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    finish_reason: str | None = None


class Format:
    """What the answers of both endpoints have in common.

    Args:
        generation: The completions.
        logprobs: Whether log-probabilities are returned.
        usage: Where a stream has the usage.
    """

    kind, chunk_kind, prefix = "", "", ""

    def __init__(self, generation: Generation, logprobs: bool, usage: StreamOptions) -> None:
        self._generation, self._logprobs, self._where = generation, logprobs, usage
        self._tokenizer: PreTrainedTokenizerBase = generation.job.model.tokenizer
        self._special = set(self._tokenizer.all_special_ids)
        self._id, self._created = f"{self.prefix}-{uuid.uuid4().hex}", int(time.time())

    def first_chunks(self) -> list[Json]:
        """Return the chunks before any text."""
        return []

    def chunks(self, piece: Piece) -> list[Json]:
        """Return the chunks for what was added to one completion."""
        raise NotImplementedError

    def choice(self, index: int, whole: _Whole) -> Json:
        """Return a complete choice."""
        raise NotImplementedError

    def last_chunk(self) -> Json:
        """Return the chunk with the usage."""
        return {**self._envelope(self.chunk_kind, []), "usage": self._usage()}

    def complete(self, pieces: Iterable[Piece]) -> Json:
        """Return the complete answer."""
        wholes = [_Whole() for _ in range(self._generation.job.count)]
        for piece in pieces:
            whole = wholes[piece.index]
            whole.reasoning += piece.reasoning
            whole.content += piece.content
            whole.calls += piece.calls
            whole.tokens += piece.tokens
            whole.finish_reason = piece.finish_reason
        choices = [self.choice(index, whole) for index, whole in enumerate(wholes)]
        return {**self._envelope(self.kind, choices), "usage": self._usage()}

    def _chunk(self, choice: Json) -> Json:
        chunk = self._envelope(self.chunk_kind, [choice])
        if self._where.include_usage:
            chunk["usage"] = self._usage() if self._where.continuous_usage_stats else None
        return chunk

    def _envelope(self, kind: str, choices: list[Json]) -> Json:
        job = self._generation.job
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": job.model.name,
            "system_fingerprint": f"r1kit-{r1kit.__version__}",
            "seed": job.params.seed,
            "choices": choices,
        }

    def _usage(self) -> Json:
        usage = self._generation.usage
        return {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.prompt + usage.completion,
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        }

    def _shown(self, tokens: Sequence[Token]) -> list[Token]:
        """Return the tokens without the one that ends a completion."""
        return [token for token in tokens if token.id not in self._special]

    def _text_of(self, token: int) -> str:
        return str(self._tokenizer.decode([token]))


class ChatFormat(Format):
    """Answers of /v1/chat/completions."""

    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(self, generation: Generation, logprobs: bool, usage: StreamOptions) -> None:
        super().__init__(generation, logprobs, usage)
        self._calls_sent = [0] * generation.job.count

    def first_chunks(self) -> list[Json]:
        """See `Format.first_chunks`."""
        delta = {"role": "assistant", "content": ""}
        return [self._chunk(_choice(index, "delta", delta)) for index in range(self._generation.job.count)]

    def chunks(self, piece: Piece) -> list[Json]:
        """See `Format.chunks`. A call of a tool has two: one that names it, and one with the arguments."""
        parts = {"reasoning_content": piece.reasoning, "content": piece.content}
        deltas: list[Json] = [{name: text for name, text in parts.items() if text}]
        for call in piece.calls:
            index = self._calls_sent[piece.index]
            self._calls_sent[piece.index] += 1
            entry = call_entry(call)
            named = {**entry["function"], "arguments": ""}
            deltas.append({"tool_calls": [{"index": index, **entry, "function": named}]})
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": entry["function"]["arguments"]}}]})
        logprobs = self._rows(piece.tokens) if self._logprobs and self._shown(piece.tokens) else None
        shown = [delta for delta in deltas if delta]
        *before, last = shown or [{}]
        if not last and piece.finish_reason is None and logprobs is None:
            return []
        chunks = [self._chunk(_choice(piece.index, "delta", delta)) for delta in before]
        return [*chunks, self._chunk(_choice(piece.index, "delta", last, logprobs, piece.finish_reason))]

    def choice(self, index: int, whole: _Whole) -> Json:
        """See `Format.choice`."""
        message: Json = {"role": "assistant", "content": whole.content, "refusal": None}
        message["reasoning_content"] = whole.reasoning or None
        if whole.calls:
            message |= {"content": whole.content or None, "tool_calls": list(map(call_entry, whole.calls))}
        logprobs = self._rows(whole.tokens) if self._logprobs else None
        return _choice(index, "message", message, logprobs, whole.finish_reason)

    def _rows(self, tokens: Sequence[Token]) -> Json:
        shown = self._shown(tokens)
        content = [self._row(token) for token in shown if not token.is_reasoning]
        reasoning = [self._row(token) for token in shown if token.is_reasoning]
        return {"content": content, "refusal": None, **({"reasoning_content": reasoning} if reasoning else {})}

    def _row(self, token: Token) -> Json:
        top = [self._entry(each, logprob) for each, logprob in token.top]
        return {**self._entry(token.id, token.logprob), "top_logprobs": top}

    def _entry(self, token: int, logprob: float) -> Json:
        text = self._text_of(token)
        is_character = "\ufffd" not in text  # else the token is a part of one
        return {
            "token": text,
            "logprob": _json_number(logprob),
            "bytes": list(text.encode()) if is_character else None,
        }


class CompletionFormat(Format):
    """Answers of /v1/completions."""

    kind, chunk_kind, prefix = "text_completion", "text_completion", "cmpl"

    def __init__(self, generation: Generation, logprobs: bool, usage: StreamOptions) -> None:
        super().__init__(generation, logprobs, usage)
        self._offsets = [0] * generation.job.count  # characters of the tokens so far

    def chunks(self, piece: Piece) -> list[Json]:
        """See `Format.chunks`."""
        if not piece.content and piece.finish_reason is None and not (self._logprobs and self._shown(piece.tokens)):
            return []
        return [self._chunk(self._choice(piece.index, piece.content, piece.tokens, piece.finish_reason))]

    def choice(self, index: int, whole: _Whole) -> Json:
        """See `Format.choice`."""
        return self._choice(index, whole.content, whole.tokens, whole.finish_reason)

    def _choice(self, index: int, text: str, tokens: Sequence[Token], finish_reason: str | None) -> Json:
        logprobs = self._columns(index, tokens) if self._logprobs else None
        return _choice(index, "text", text, logprobs, finish_reason)

    def _columns(self, index: int, tokens: Sequence[Token]) -> Mapping[str, list[Any]]:
        columns: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token in self._shown(tokens):
            text = self._text_of(token.id)
            columns["tokens"].append(text)
            columns["token_logprobs"].append(_json_number(token.logprob))
            top = {self._text_of(each): _json_number(logprob) for each, logprob in token.top}
            columns["top_logprobs"].append(top or None)
            columns["text_offset"].append(self._offsets[index])
            self._offsets[index] += len(text)
        return columns


def _choice(
    index: int,
    part: str,
    value: object,
    logprobs: Mapping[str, Any] | None = None,
    finish_reason: str | None = None,
) -> Json:
    return {"index": index, part: value, "logprobs": logprobs, "finish_reason": finish_reason}


def _json_number(logprob: float) -> float | None:
    """Return a log-probability as JSON can hold it; None if the engine does not know it."""
    return None if math.isnan(logprob) else max(logprob, LEAST_LOGPROB)
