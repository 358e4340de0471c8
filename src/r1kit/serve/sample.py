"""One completion while it grows: from the engine's tokens to reasoning and content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from r1kit.engine.live.base import LiveDelta
from r1kit.engine.stops import stop_length
from r1kit.serve.text import END_THINK, Detokenizer, ReasoningParser, StopCutter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Token:
    """One sampled token: its id, its log-probability, and the likeliest tokens in its place."""

    id: int
    logprob: float
    top: Sequence[tuple[int, float]]
    is_reasoning: bool


@dataclass(slots=True)
class Piece:
    """What was just added to one completion."""

    index: int
    reasoning: str = ""
    content: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: Literal["stop", "length"] | None = None


class Sample:
    """One completion while it grows."""

    def __init__(
        self, index: int, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str], parser: ReasoningParser | None
    ) -> None:
        self._index, self._tokenizer, self._parser = index, tokenizer, parser
        self._decoder, self._cutter = Detokenizer(tokenizer), StopCutter(stop)
        self._ids: list[int] = []
        self._ends_reasoning = False
        self.reasoning_tokens = 0

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self._ids)

    def add(self, delta: LiveDelta) -> Piece:
        """Return what these tokens add."""
        start = len(self._ids)
        self._ids += delta.token_ids
        piece = Piece(self._index)
        text = self._cutter.feed(self._decoder.feed(delta.token_ids))
        if delta.finish_reason == "stop" or delta.finish_reason == "length":
            text += self._cutter.finish()
            piece.finish_reason = delta.finish_reason
        if self._parser is None:
            piece.content = text
        else:
            piece.reasoning, piece.content = self._parser.feed(text)
            if piece.finish_reason is not None:
                reasoning, content = self._parser.finish()
                piece.reasoning, piece.content = piece.reasoning + reasoning, piece.content + content
            self._count_reasoning(self._parser, start)
        piece.tokens = self._tokens(delta, start)
        return piece

    def _count_reasoning(self, parser: ReasoningParser, start: int) -> None:
        """Count tokens up to and including the first closing think tag."""
        if not parser.has_reasoned or self._ends_reasoning:
            return
        end = None if parser.reasons else stop_length(self._ids, start, [END_THINK], self._tokenizer)
        self._ends_reasoning = end is not None
        self.reasoning_tokens = len(self._ids) if end is None else end

    def _tokens(self, delta: LiveDelta, start: int) -> list[Token]:
        top = delta.top_logprobs or [[]] * len(delta.token_ids)
        rows = zip(delta.token_ids, delta.logprobs, top, strict=True)
        return [Token(*row, start + i < self.reasoning_tokens) for i, row in enumerate(rows)]
