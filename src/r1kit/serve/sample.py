"""One completion while it grows: from the engine's tokens to reasoning and content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from r1kit.engine.live.base import LiveDelta
from r1kit.engine.stops import stop_length
from r1kit.serve.calling.parser import CallParser
from r1kit.serve.text import END_THINK, Detokenizer, ReasoningParser, StopCutter
from r1kit.tools.base import ToolCall

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
    calls: list[ToolCall] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    finish_reason: Literal["stop", "length", "tool_calls"] | None = None


class Sample:
    """One completion while it grows.

    Args:
        index: Its number in the request.
        tokenizer: Decodes its tokens.
        stop: Stop strings.
        parser: Parts reasoning from content; None: all is content.
        calls: Reads the calls of tools in the content; None: it has none.
    """

    def __init__(
        self,
        index: int,
        tokenizer: PreTrainedTokenizerBase,
        stop: Sequence[str],
        parser: ReasoningParser | None,
        calls: CallParser | None = None,
    ) -> None:
        self._index, self._tokenizer, self._parser, self._calls = index, tokenizer, parser, calls
        self._decoder, self._cutter = Detokenizer(tokenizer), StopCutter(stop)
        self._ids: list[int] = []
        self._unclear: list[tuple[int, float, Sequence[tuple[int, float]]]] = []  # tokens that may begin a tag
        self._ends_reasoning = False
        self.reasoning_tokens = 0

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self._ids)

    def add(self, delta: LiveDelta) -> Piece:
        """Return what these tokens add."""
        piece = Piece(self._index)
        top = delta.top_logprobs or [[]] * len(delta.token_ids)
        rows = [*zip(delta.token_ids, delta.logprobs, top, strict=True)]
        while rows:
            # Before any reasoning one by one: which tokens belong to it must not depend on how they arrive.
            count = len(rows) if self._parser is None or self._parser.has_reasoned else 1
            self._add(rows[:count], piece)
            del rows[:count]
        if delta.finish_reason == "stop" or delta.finish_reason == "length":
            piece.finish_reason = delta.finish_reason
            self._parse(self._cutter.finish(), piece)
            if self._parser is not None:
                self._append(*self._parser.finish(), piece)
            if self._calls is not None:
                content, calls = self._calls.finish()
                piece.content, piece.calls = piece.content + content, [*piece.calls, *calls]
                if self._calls.has_called and piece.finish_reason == "stop":
                    piece.finish_reason = "tool_calls"
            self._classify(piece)
        return piece

    def _add(self, rows: Sequence[tuple[int, float, Sequence[tuple[int, float]]]], piece: Piece) -> None:
        start, ids = len(self._ids), [token for token, _, _ in rows]
        self._ids += ids
        self._unclear += rows
        self._parse(self._cutter.feed(self._decoder.feed(ids)), piece)
        if self._parser is None:
            return self._classify(piece)
        self._count_reasoning(self._parser, start)
        if self._parser.has_reasoned or not self._parser.holds_back:
            self._classify(piece)

    def _parse(self, text: str, piece: Piece) -> None:
        self._append(*(("", text) if self._parser is None else self._parser.feed(text)), piece)

    def _append(self, reasoning: str, content: str, piece: Piece) -> None:
        if self._calls is not None:
            content, calls = self._calls.feed(content)
            piece.calls += calls
        piece.reasoning, piece.content = piece.reasoning + reasoning, piece.content + content

    def _classify(self, piece: Piece) -> None:
        """Add the tokens to a piece of which it is clear now whether they are reasoning."""
        start = len(self._ids) - len(self._unclear)
        piece.tokens += [Token(*row, start + i < self.reasoning_tokens) for i, row in enumerate(self._unclear)]
        self._unclear.clear()

    def _count_reasoning(self, parser: ReasoningParser, start: int) -> None:
        """Count tokens up to and including the first closing think tag."""
        if not parser.has_reasoned or self._ends_reasoning:
            return
        end = None if parser.reasons else stop_length(self._ids, start, [END_THINK], self._tokenizer)
        self._ends_reasoning = end is not None
        self.reasoning_tokens = len(self._ids) if end is None else end
