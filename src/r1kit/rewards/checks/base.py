"""The records that verifiers and built-in rewards register, and the helpers that most verifiers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from r1kit.rewards.extract import rule_on_all
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Ruling, Verdict
from r1kit.types import Problem

Gold = TypeVar("Gold")
Row = Mapping[str, Any]  # one line of JSON that `r1kit grade` reads
Service = Literal["sandbox", "native sandbox", "judge"]


@dataclass(frozen=True)
class ScoreRequest:
    """One completion to score. Holds only values that JSON can carry, so it can go to a worker process."""

    problem: Problem
    text: str
    weights: Mapping[str, float]  # reward name -> weight
    think_open: bool = False  # the prompt ended in `<think>`
    answer_tags: bool = False  # the template asks for `<answer>`
    truncated: bool = False  # cut off by the length cap: the format is wrong, and only a closed answer counts
    token_count: int = 0  # of the completion, with EOS; only functions of your own read it
    partial_credit: bool = False  # accuracy is a share where the verifier gives one; else only a right answer counts
    environment: float | None = None  # what the environment of the episode gave; None for none
    failure: str = ""  # what failed outside the policy before grading: the score is masked

    @cached_property
    def reply(self) -> Reply:
        """The completion as verifiers and rewards read it."""
        return Reply(self.text, self.think_open, self.truncated, False, self.answer_tags, self.environment)


def no_fields(row: Row) -> dict[str, Any]:
    """Read no extra fields: the gold answer is enough."""
    return {}


def fields(*names: str) -> Callable[[Row], dict[str, Any]]:
    """Return a function that copies these fields of a row."""
    return lambda row: {name: row.get(name) for name in names}


@dataclass(frozen=True)
class Verifier(Generic[Gold]):
    """One check of the accuracy reward, for training and `r1kit grade` alike.

    Attributes:
        read: Returns the gold answer of a problem. Raises KeyError, TypeError or ValueError when the problem lacks it
            or it cannot be used; then no answer to the problem is scored.
        judge: Judges a reply by the gold answer.
        canonical: Maps an extracted answer to a text that only equal answers have, for majority voting; None gives the
            answer no vote. It may use of the gold answer only what the question states.
        same: Whether an answer equals another; None if equal answers always have the same canonical text.
        from_row: Returns `Problem.extra` for a row of `r1kit grade`. Raises KeyError, TypeError or ValueError.
        extracts: Whether it judges an answer that it finds in the reply; else there are no votes, and nothing to parse.
        service: What grading needs besides Python. Verifiers with a service run in worker processes, because they
            run foreign code or wait for an endpoint.
        may_use_sandbox: Whether grading this problem may call the sandbox although it mostly works without.
        warm_up: Loads what the first call would load, so that no graded row includes it in its time.
    """

    read: Callable[[Problem], Gold]
    judge: Callable[[Gold, Reply], Verdict]
    canonical: Callable[[Gold, str], str | None] = lambda gold, answer: answer.strip()
    same: Callable[[str, str], bool] | None = None
    from_row: Callable[[Row], dict[str, Any]] = no_fields
    extracts: bool = True
    service: Service | None = None
    may_use_sandbox: Callable[[Problem], bool] = lambda problem: False
    warm_up: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Reward:
    """One built-in reward that needs no gold answer.

    Attributes:
        judge: Returns a verdict; its value is the reward before weighting. Raises KeyError, TypeError or ValueError
            for a problem without the fields that the reward needs.
        from_row: Returns the request for a row of `r1kit grade` and its response. Raises KeyError, TypeError or
            ValueError. None where a response alone is not enough.
        warm_up: See `Verifier`.
    """

    judge: Callable[[ScoreRequest], Verdict]
    from_row: Callable[[Row, str], ScoreRequest] | None
    warm_up: Callable[[], object] = lambda: None


def judge_answers(check: Callable[[Gold, str], Ruling]) -> Callable[[Gold, Reply], Verdict]:
    """Judge the answer that a reply states. If it states several, every one must be right."""

    def judge(gold: Gold, reply: Reply) -> Verdict:
        answers = reply.answers
        if not answers:
            return reply.no_answer()
        return verdict_of(rule_on_all(answers, lambda answer: check(gold, answer)), answers[-1])

    return judge


def judge_body(check: Callable[[Gold, str], Ruling]) -> Callable[[Gold, Reply], Verdict]:
    """Judge the contents of a reply's boxes, or all that follows the thinking if there are none."""

    def judge(gold: Gold, reply: Reply) -> Verdict:
        if not (body := reply.boxed_or_body):
            return reply.no_answer()
        return verdict_of(check(gold, body), body)

    return judge


def verdict_of(ruling: Ruling, extracted: str | None) -> Verdict:
    """Return the verdict on an answer that is either right (1) or not (0)."""
    return Verdict(float(ruling.status == "right"), extracted, ruling.reason, ruling.status)


def gold_answer(problem: Problem) -> str:
    """Return `problem.answer`; ValueError when it is empty."""
    if not problem.answer.strip():
        raise ValueError("the gold answer is empty")
    return problem.answer
