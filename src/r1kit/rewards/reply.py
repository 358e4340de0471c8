"""A completion as verifiers read it: its thinking, the text for the reader, and the answers it states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from r1kit.data.response import Response, find_boxes, split_response
from r1kit.rewards.extract import answers_of
from r1kit.rewards.verdict import Verdict
from r1kit.types import FinishReason, Problem

_ONE_FENCE = re.compile(r"```[^\n`]*\n(.*?)\n?```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RewardInput:
    """One completion as a function of the user's own reads it: `def my_reward(completion): ...`."""

    problem: Problem
    text: str
    """The complete text, without special tokens and without a `<think>` that the prompt opened."""
    thinking: str | None
    """Text inside the think tags; None without a think tag."""
    summary: str
    """Text for the reader, after the thinking; empty if the thinking is not finished."""
    answer: str | None
    r"""The last answer that the text states: in tags, in \boxed{}, after #### or after "the answer is"."""
    finish_reason: FinishReason
    """"stop", or "length" if the length limit cut it off."""
    token_count: int
    """Number of sampled tokens, with EOS."""

    @classmethod
    def of(cls, problem: Problem, reply: Reply, token_count: int) -> RewardInput:
        """Return what a function reads of a reply to a problem."""
        return cls(
            problem=problem,
            text=reply.text,
            thinking=reply.parts.thinking,
            summary="" if reply.parts.unfinished else reply.parts.summary,
            answer=next(reversed(reply.answers), None),
            finish_reason="length" if reply.truncated else "stop",
            token_count=token_count,
        )


@dataclass(frozen=True)
class Reply:
    """One completion and how it was generated."""

    text: str
    think_open: bool = False  # the prompt ended in `<think>`
    truncated: bool = False  # cut off by the length cap: only closed forms count
    free_form: bool = False  # the prompt required no format, so the text may consist of the answer alone
    answer_tags: bool = True  # the prompt asked for `<answer>` tags
    environment: float | None = None  # what the environment of the episode gave; None for none

    @cached_property
    def parts(self) -> Response:
        """The completion split into thinking, answer and summary."""
        return split_response(self.text, self.think_open)

    @property
    def thinking(self) -> str:
        """The thinking; the complete text if it has no think tags."""
        return self.text if self.parts.thinking is None else self.parts.thinking

    @property
    def body(self) -> str | None:
        """The text for the reader: inside the last answer tags, else everything after the thinking.

        None if the thinking is unfinished, or the completion was cut off outside answer tags.
        """
        if self.parts.unfinished or (self.truncated and self.parts.answer is None):
            return None
        body = self.parts.summary if self.parts.answer is None else self.parts.answer
        fenced = _ONE_FENCE.fullmatch(body) if self.free_form else None
        return fenced[1] if fenced else body

    @property
    def boxed_or_body(self) -> str | None:
        """The contents of the boxes in the body, or the complete body if it has none."""
        return None if self.body is None else "\n".join(find_boxes(self.body)) or self.body

    @property
    def answers(self) -> list[str]:
        """The answers that the completion states; more than one only if it offers several boxes together."""
        answers = answers_of(self.parts, self.truncated)
        return answers or ([self.body] if self.free_form and self.body and "\\boxed" not in self.body else [])

    @property
    def boxes(self) -> list[str]:
        """The contents of all boxes of the answer."""
        return find_boxes(self.parts.summary if self.parts.answer is None else self.parts.answer)

    def no_answer(self) -> Verdict:
        """Return the verdict on a completion without an answer."""
        reason = "cut off before an answer" if self.truncated else "no answer found"
        return Verdict(0.0, None, reason, "unparseable")
