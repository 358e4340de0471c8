"""A completion as verifiers read it: what it thinks, what it tells the reader, and the answers it commits to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from r1kit.data.response import Response, find_boxes, split_response
from r1kit.rewards.extract import find_answers
from r1kit.rewards.verdict import Verdict

_ONE_FENCE = re.compile(r"```[^\n`]*\n(.*?)\n?```", re.DOTALL)


@dataclass(frozen=True)
class Reply:
    """One response and what is known of how it came about."""

    text: str
    think_open: bool = False  # the prompt ended in `<think>`
    truncated: bool = False  # cut off by the length cap: only closed forms count
    free: bool = False  # no format was asked for, so the text may be nothing but the answer

    @cached_property
    def parts(self) -> Response:
        return split_response(self.text, self.think_open)

    @property
    def thinking(self) -> str:
        """What the response thinks; all of it where it uses no think tags."""
        return self.text if self.parts.thinking is None else self.parts.thinking

    @property
    def body(self) -> str | None:
        """What the reader is told: inside the last answer tags, else all after the thinking.

        None while the response still thinks, and when it was cut off outside answer tags.
        """
        unfinished = "<think>" in self.parts.summary or (self.think_open and "</think>" not in self.text)
        if unfinished or (self.truncated and self.parts.answer is None):
            return None
        body = self.parts.summary if self.parts.answer is None else self.parts.answer
        fenced = _ONE_FENCE.fullmatch(body) if self.free else None
        return fenced[1] if fenced else body

    @property
    def focus(self) -> str | None:
        r"""The part of the body that answers: the contents of its boxes where there are any, else all of it."""
        return None if self.body is None else "\n".join(find_boxes(self.body)) or self.body

    @property
    def answers(self) -> list[str]:
        """The answers it commits to: several only when it holds several boxes."""
        found = find_answers(self.text, self.think_open, self.truncated)
        return found or ([self.body] if self.free and self.body and "\\boxed" not in self.body else [])

    def silent(self) -> Verdict:
        """The verdict on a reply without answer."""
        return Verdict(0.0, None, "cut off before an answer" if self.truncated else "no answer found", "unparseable")
