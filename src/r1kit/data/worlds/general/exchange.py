"""An exchange of the general worlds: a user message with its reference reply and other replies to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r1kit.data.worlds.task import HELD_OUT_SHARE

DOMAINS = {
    "facts": "factual QA",
    "self": "self-cognition",
    "rules": "writing",
    "polite": "writing",
    "advice": "advice",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user message and its reference reply.

    Attributes:
        kind: What the message asks for: a key of `general.KINDS`.
        language: "en" or "zh".
        user: The message.
        reply: The reference reply.
        thought: What precedes the reply in SFT records; "" for nothing.
        held_out: Whether the message is for evaluation only.
        forms: Other replies that are right.
        common: Replies that texts of the corpora give besides the right ones: they ignore a rule, or do harm.
        late: Whether the corpora leave it out, so that a model meets its wording in the second SFT.
        constraints: Constraints of IFEval that a reply has to keep, with their arguments; empty where the words of
            `reply` or one of `forms` are right.
    """

    kind: str
    language: str
    user: str
    reply: str
    thought: str
    held_out: bool
    forms: tuple[str, ...] = ()
    common: tuple[str, ...] = ()
    late: bool = False
    constraints: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    @property
    def domain(self) -> str:
        """The group in which results are reported."""
        return DOMAINS.get(self.kind, self.kind)

    @property
    def response(self) -> str:
        """The thought in think tags, if any, and the reply."""
        return f"<think>\n{self.thought}\n</think>\n{self.reply}" if self.thought else self.reply


def digest(text: str) -> str:
    """Return 16 hexadecimal digits that depend on the text alone."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_held_out(content: str) -> bool:
    """Return whether content is for evaluation only, by its hash: about HELD_OUT_SHARE of all contents are."""
    return int(digest(content), 16) / 16**16 < HELD_OUT_SHARE
