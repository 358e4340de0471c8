"""The result of a verifier: `Ruling` on one extracted answer, `Verdict` on a complete response.

Every status except `infra_error` judges the answer; a sample with `infra_error` is masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

# unparseable: no answer, or an unreadable one. over_limit: stopped by a limit on size or fuel, so reproducible on
# every machine. infra_error: the verifier itself failed or ran out of time; the sample is masked, never scored 0.
Status = Literal["right", "wrong", "unparseable", "over_limit", "infra_error"]


class Ruling(NamedTuple):
    """The judgement on one extracted answer."""

    status: Status
    reason: str

    @classmethod
    def of(cls, fault: str | None) -> Ruling:
        """Return "right" without a fault, else "wrong" with the fault as reason."""
        return cls("right", "right") if fault is None else cls("wrong", fault)


@dataclass(frozen=True)
class Verdict:
    """The accuracy reward of a response, with its reason."""

    value: float  # 0 to 1, a share if the problem has parts; meaningless with infra_error
    extracted: str | None  # the judged answer
    reason: str
    status: Status

    @property
    def masked(self) -> bool:
        """Whether the sample must be left out of training, because the verifier failed."""
        return self.status == "infra_error"
