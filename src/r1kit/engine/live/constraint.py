"""Constrained decoding: JSON, a JSON Schema, a regular expression or a grammar as a mask of the next token.

llguidance compiles the grammar and computes masks. Its limits bound the time and memory of both. EOS is allowed only
where the grammar may end; where it must end, the completion ends without EOS.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.engine.live.base import Constraint, ConstraintError
from r1kit.engine.live.schema_errors import plain_error
from r1kit.errors import require

EXTRA = "serve"
MAX_SOURCE = 65_536  # characters of a schema or regular expression
MAX_NODES = 5_000  # values in a schema
MAX_KEYS = 500  # of one object in a schema: the time to compile grows with their square
COMPILED = 32  # grammars kept for later requests
SHOWN = 300  # characters of llguidance's message
MAX_BLANKS = 4  # tokens of whitespace between the text behind which a constraint begins, and its beginning
WHITESPACE = r"[\x20\x0A]{0,16}"  # between the tokens of JSON: without a limit, a model could write it forever


class Grammar:
    """The state of one completion in its grammar."""

    def __init__(self, matcher: Any, marker: _Marker | None, stops: Tensor) -> None:
        self.matcher, self.marker, self.stops_V = matcher, marker, stops
        self.written = b""  # before the marker is complete
        self.blanks_left = MAX_BLANKS if marker is not None else 0  # tokens of whitespace behind the marker
        self.is_active = marker is None

    def fresh(self) -> Grammar:
        """Return the state at the beginning of a completion."""
        matcher = self.matcher.deep_copy()
        matcher.reset()
        return Grammar(matcher, self.marker, self.stops_V)

    def allowed(self) -> Tensor:
        """Return which tokens may be next [V].

        Raises:
            ConstraintError: The grammar has become too complex.
        """
        if not self.is_active:
            assert self.marker is not None
            return ~(self.stops_V | self.marker.forbidden(self.written))
        bits = torch.frombuffer(bytearray(self.matcher.compute_bitmask()), dtype=torch.uint8)
        self._check()
        allowed_V = ((bits[:, None] >> torch.arange(8)) & 1).flatten()[: len(self.stops_V)].bool()
        if self.blanks_left and self.marker is not None:
            allowed_V |= self.marker.blank_V
        return allowed_V

    def consume(self, token: int) -> bool:
        """Note the token that was sampled. Return whether the grammar ends with it.

        Raises:
            ConstraintError: The grammar has become too complex.
        """
        if not self.is_active:
            assert self.marker is not None
            self.written += self.marker.bytes_of(token)
            _, found, rest = self.written.partition(self.marker.text)
            self.is_active = bool(found)
            self.written = self.written[-len(self.marker.text) :]
            return bool(rest.strip()) and self._consume(self.marker.tokenize(rest))
        if self.blanks_left and self.marker is not None and self.marker.blank_V[token]:
            self.blanks_left -= 1
            return False
        return self._consume([token])

    def _consume(self, tokens: list[int]) -> bool:
        self.blanks_left = 0
        self.matcher.consume_tokens(tokens)
        self._check()
        return bool(self.matcher.is_stopped())

    def _check(self) -> None:
        if self.matcher.is_error():
            raise ConstraintError(
                f"the constraint is too complex for this answer: {_message(self.matcher.get_error())}; simplify it"
            )


class _Marker:
    """The text behind which a constraint begins."""

    def __init__(self, text: str, tokenizer: Any, vocabulary: int) -> None:
        self.text, self.tokenizer, self.vocabulary = text.encode(), tokenizer, vocabulary
        self._forbidden: dict[int, Tensor] = {}
        texts = [self.bytes_of(token) for token in range(vocabulary)]
        self.blank_V = torch.tensor([bool(text) and not text.strip() for text in texts])

    def bytes_of(self, token: int) -> bytes:
        return bytes(self.tokenizer.decode_bytes([token]))

    def tokenize(self, text: bytes) -> list[int]:
        return list(self.tokenizer.tokenize_bytes(text))

    def forbidden(self, written: bytes) -> Tensor:
        """Return the tokens [V] that complete the marker and already hold text that the grammar has to judge."""
        begun = [n for n in range(len(self.text)) if written.endswith(self.text[:n])]
        return torch.stack([self._completing(n) for n in begun]).any(0)

    def _completing(self, begun: int) -> Tensor:
        if begun not in self._forbidden:
            found = torch.zeros(self.vocabulary, dtype=torch.bool)
            for token in range(self.vocabulary):
                before, is_complete, rest = self.bytes_of(token).partition(self.text[begun:])
                found[token] = bool(is_complete and rest.strip() and not (begun and before))
            self._forbidden[begun] = found
        return self._forbidden[begun]


class Grammars:
    """Compiles constraints for a model's tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary: int, stops: set[int]) -> None:
        self.tokenizer, self.vocabulary, self.stops = tokenizer, vocabulary, sorted(stops)
        self._compiled: OrderedDict[Constraint, Grammar] = OrderedDict()
        self._markers: dict[str, _Marker] = {}
        self._wrapped: Any = None

    def compile(self, constraint: Constraint) -> Grammar:
        """Return the state at the beginning of a completion.

        Raises:
            ConstraintError: The constraint is invalid or too complex.
            UserError: llguidance is not installed.
        """
        if constraint not in self._compiled:
            self._compiled[constraint] = self._compile(constraint)
            while len(self._compiled) > COMPILED:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(constraint)
        return self._compiled[constraint].fresh()

    def _compile(self, constraint: Constraint) -> Grammar:
        library = require("llguidance", EXTRA)
        if len(constraint.source) > MAX_SOURCE:
            raise ConstraintError(f"{constraint.kind}: {len(constraint.source):,} characters: at most {MAX_SOURCE:,}")
        if constraint.after == "":
            raise ConstraintError('after = "": must be a text, or absent for a constraint that begins at once')
        if self._wrapped is None:
            if not self.tokenizer.is_fast:
                raise ConstraintError("constraints need a fast tokenizer (tokenizer.json): this model has none")
            wrap: Any = require("llguidance.hf", EXTRA).from_tokenizer
            self._wrapped = wrap(self.tokenizer, n_vocab=self.vocabulary, eos_token=self.stops)
        limits = library.LLParserLimits(verbose_errors=False)
        grammar = _grammar(constraint, library.LLMatcher)
        matcher = library.LLMatcher(self._wrapped, grammar, log_level=0, limits=limits)
        if not matcher.is_error():
            matcher.compute_bitmask()
        if matcher.is_error():
            schema = _schema(constraint.source) if constraint.kind == "json_schema" else None
            raise ConstraintError(plain_error(constraint.kind, _message(matcher.get_error()), EXTRA, schema))
        stops = torch.zeros(self.vocabulary, dtype=torch.bool)
        stops[self.stops] = True
        return Grammar(matcher, self._marker(constraint.after), stops)

    def _marker(self, text: str | None) -> _Marker | None:
        if text is None:
            return None
        if text not in self._markers:
            self._markers[text] = _Marker(text, self._wrapped, self.vocabulary)
        return self._markers[text]


def _grammar(constraint: Constraint, matcher: Any) -> str:
    """Return the grammar in llguidance's format."""
    if constraint.kind == "regex":
        return str(matcher.grammar_from_regex(constraint.source))
    if constraint.kind == "lark":
        return str(matcher.grammar_from_lark(constraint.source))
    schema = _schema(constraint.source) if constraint.kind == "json_schema" else {"type": "object"}
    options = {"whitespace_pattern": WHITESPACE}
    try:
        return str(matcher.grammar_from_json_schema(json.dumps(schema), None, options))
    except ValueError as error:
        raise ConstraintError(plain_error(constraint.kind, _message(str(error)), EXTRA, schema)) from error


def _schema(source: str) -> dict[str, Any]:
    """Parse a JSON Schema of bounded size."""
    try:
        schema = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise ConstraintError(f"json_schema: not JSON: {_message(str(error))}") from error
    if not isinstance(schema, dict):
        raise ConstraintError(
            f"json_schema: {type(schema).__name__}: must be a JSON object, such as {{}} for any value"
        )
    check_size(schema)
    return schema


def check_size(schema: Mapping[str, Any]) -> None:
    """Raise ConstraintError for a JSON Schema that would take too long to compile."""
    for nodes, node in enumerate(_nodes(schema), start=1):
        if nodes > MAX_NODES or (isinstance(node, dict) and len(node) > MAX_KEYS):
            raise ConstraintError(
                f"json_schema: too large: at most {MAX_NODES:,} values, and {MAX_KEYS} keys of one object"
            )


def _nodes(value: Any) -> Iterator[Any]:
    """Yield a JSON value and all values in it."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []


def _message(text: str) -> str:
    first = text.strip().split("\n<")[0]  # then follows llguidance's state
    return first if len(first) <= SHOWN else first[:SHOWN] + " ..."
