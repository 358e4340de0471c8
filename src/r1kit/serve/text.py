"""Text of a completion while it grows: from tokens, up to a stop string, in a reasoning and a content part.

A text arrives in pieces whose borders mean nothing: a character, a stop string or a tag may lie in several of them.
Each class holds back what may be the beginning of one, so that a piece that was sent is never taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from r1kit.data.response import held_back

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

THINK, END_THINK = "<think>", "</think>"
ANSWER_TAGS = ("<answer>", "</answer>")
INCOMPLETE = "\ufffd"  # what decoding puts in place of a part of a character


class Detokenizer:
    """Decodes tokens to text without special tokens. A character whose last token is missing at the end is dropped."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[
            int
        ] = []  # the last tokens that were decoded, as the next text may depend on them, and new ones
        self._decoded, self._known = 0, ""  # number and text of those that were decoded

    def feed(self, token_ids: Sequence[int]) -> str:
        """Return the text that these tokens add."""
        self._ids += token_ids
        text = self._decode()
        if text.endswith(INCOMPLETE):
            return ""
        new = text[len(self._known) :]
        if new:
            del self._ids[: self._decoded]
            self._decoded, self._known = len(self._ids), self._decode()
        return new

    def _decode(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=True))


class StopCutter:
    """Ends a text before the first of some stop strings."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop, self._held = stop, ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Return what may be sent. "" once a stop string was found."""
        if not self._stop:
            return text
        if self.stopped:
            return ""
        text = self._held + text
        starts = [start for string in self._stop if (start := text.find(string)) >= 0]
        if starts:
            self.stopped, self._held = True, ""
            return text[: min(starts)]
        keep = held_back(text, self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return held


@dataclass(slots=True)
class Trimmed:
    """One part of an answer while it grows. White space around it is left out."""

    pieces: list[str] = field(default_factory=list)
    space: str = ""  # white space behind what was sent: sent before more text
    is_empty: bool = True

    def add(self, text: str) -> None:
        """Append a text."""
        words = text.rstrip()
        if words:
            self.pieces.append(words.lstrip() if self.is_empty else self.space + words)
            self.space, self.is_empty = "", False
        self.space += text[len(words) :]

    def take(self) -> str:
        """Return what was added since the last call."""
        text = "".join(self.pieces)
        self.pieces.clear()
        return text


class ReasoningParser:
    """Parts a text into reasoning, inside think tags, and content, outside them. Tags belong to neither.

    A well-formed response gets the parts of `data.response.split_response`.

    Args:
        think_open: Whether the prompt ended in `<think>`.
        answer_tags: Whether `<answer>` and `</answer>` are left out of the content: the template asks for them.
        verbatim: Texts that begin and end a part of the content in which all tags stay, such as a call of a tool.
    """

    def __init__(self, think_open: bool, answer_tags: bool, verbatim: tuple[str, str] | None = None) -> None:
        self.reasons = think_open
        """Whether the text that comes next is reasoning."""
        self.has_reasoned = think_open
        """Whether there was any reasoning section."""
        self._answer_tags, self._verbatim, self._is_verbatim = answer_tags, verbatim, False
        self._held = ""
        self._reasoning, self._content = Trimmed(), Trimmed()

    @property
    def holds_back(self) -> bool:
        """Whether the end of the text may be the beginning of a tag."""
        return bool(self._held)

    def feed(self, text: str) -> tuple[str, str]:
        """Return the reasoning and the content that a text adds."""
        text = self._held + text
        while (tag := self._first_tag(text)) is not None:
            before, _, text = text.partition(tag)
            if self._verbatim is not None and tag in self._verbatim:
                self._add(before + tag)
                self._is_verbatim = tag == self._verbatim[0]
                continue
            self._add(before)
            if tag in (THINK, END_THINK):
                self.reasons = tag == THINK
                self.has_reasoned |= self.reasons
        keep = held_back(text, self._tags())
        self._add(text[: len(text) - keep])
        self._held = text[len(text) - keep :]
        return self._reasoning.take(), self._content.take()

    def finish(self) -> tuple[str, str]:
        """Return what was held back: it only began like a tag."""
        self._add(self._held)
        self._held = ""
        return self._reasoning.take(), self._content.take()

    def _tags(self) -> tuple[str, ...]:
        if self._verbatim is not None and self._is_verbatim:
            return (self._verbatim[1],)
        tags = (THINK, END_THINK)
        if self.reasons:
            return tags
        return (*tags, *(ANSWER_TAGS if self._answer_tags else ()), *(self._verbatim or ())[:1])

    def _first_tag(self, text: str) -> str | None:
        found = [(text.index(tag), tag) for tag in self._tags() if tag in text]
        return min(found)[1] if found else None

    def _add(self, text: str) -> None:
        (self._reasoning if self.reasons else self._content).add(text)
