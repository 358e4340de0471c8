"""What a verifier says about an answer. Only `infra_error` is no statement about the answer, so only it is masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

# unparseable: no answer, or one that cannot be read. over_limit: cut by a size or fuel cap, the same on every machine.
# infra_error: the grader itself broke or ran out of time; the sample is masked, never scored 0.
Status = Literal["right", "wrong", "unparseable", "over_limit", "infra_error"]


class Ruling(NamedTuple):
    """What a verifier says about one extracted answer."""

    status: Status
    reason: str

    @classmethod
    def of(cls, fault: str | None) -> Ruling:
        """Right when nothing is wrong with the answer."""
        return cls("right", "right") if fault is None else cls("wrong", fault)


@dataclass(frozen=True)
class Verdict:
    """The accuracy reward of a whole response and how it came about."""

    value: float  # 0 to 1: a share where a problem has parts; says nothing when the status is infra_error
    extracted: str | None  # the answer that was judged
    reason: str
    status: Status

    @property
    def masked(self) -> bool:
        return self.status == "infra_error"
