"""Rewards: what one completion earns, part by part. Accuracy and format by rule (paper eq. 4), and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit.errors import nearest
from r1kit.rewards import custom
from r1kit.rewards.checks.format import is_well_formed
from r1kit.rewards.custom import RewardError
from r1kit.rewards.language.identify import consistency
from r1kit.rewards.reply import Reply
from r1kit.rewards.services import recipe_folder
from r1kit.rewards.verdict import Verdict
from r1kit.rewards.verifiers import VERIFIERS, Verifier
from r1kit.types import Problem, Score

__all__ = ["BUILT_IN", "ScoreRequest", "RewardError", "canonical_answer", "check_reward_names", "grade", "score"]


@dataclass(frozen=True)
class ScoreRequest:
    """One completion to be scored. Values that JSON can carry: it may travel to another process."""

    problem: Problem
    text: str
    weights: Mapping[str, float]  # reward name -> weight
    think_open: bool = False  # the prompt ended in `<think>`
    answer_tags: bool = False  # the template asks for `<answer>`
    truncated: bool = False  # the length cap cut it off: its format is wrong, only an answer already closed counts


def grade(
    problem: Problem, text: str, *, think_open: bool = False, truncated: bool = False, free: bool = False
) -> Verdict:
    """The accuracy reward: 1 when the response states the right answer and no other, a share where it has parts.

    free: no format was asked for, so a bare answer counts too. A gold answer that cannot be used is an infra_error: it
    says nothing about the response. RewardError when the verifier itself fails.
    """
    verifier = _verifier(problem)
    try:
        gold = verifier.read(problem)
    except (KeyError, TypeError, ValueError) as error:
        lacks = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        return Verdict(0.0, None, f"the problem cannot be graded by {problem.verifier!r}: {lacks}", "infra_error")
    try:
        return verifier.judge(gold, Reply(text, think_open, truncated, free))
    except RewardError:
        raise
    except Exception as error:
        raise RewardError(
            f"verifier {problem.verifier!r} failed on problem {problem.id}: {type(error).__name__}: {error}"
        ) from error


def canonical_answer(problem: Problem, extracted: str | None) -> str | None:
    """The extracted answer in a form in which equal answers are equal strings: what cons@k counts."""
    return None if extracted is None else _verifier(problem).canonical(extracted)


def score(
    problem: Problem, text: str, weights: Mapping[str, float], *, think_open: bool, answer_tags: bool, truncated: bool
) -> Score:
    """What a completion earns; see `ScoreRequest`. Masked when the accuracy that it asks for could not be found."""
    return assess(ScoreRequest(problem, text, weights, think_open, answer_tags, truncated))[0]


def assess(request: ScoreRequest) -> tuple[Score, Verdict | None]:
    """The score of a completion, and the verdict on its accuracy where that is asked for."""
    verdict = None
    if "accuracy" in request.weights:
        verdict = grade(request.problem, request.text, think_open=request.think_open, truncated=request.truncated)
    parts = {
        name: verdict.value if name == "accuracy" and verdict else _part(name, request) for name in request.weights
    }
    total = sum(weight * parts[name] for name, weight in request.weights.items())
    if verdict is None:
        return Score(total, parts), None
    return Score(total, parts, verdict.extracted, verdict.reason, verdict.masked), verdict


def _part(name: str, request: ScoreRequest) -> float:
    if name == "format":
        shape = {"think_open": request.think_open, "answer_tags": request.answer_tags}
        return float(not request.truncated and is_well_formed(request.text, **shape))
    if name == "language":
        thinking = Reply(request.text, request.think_open).thinking
        among = request.problem.extra.get("languages", ())
        return consistency(thinking, request.problem.language, among) if thinking.strip() else 0.0
    return custom.value_of(name, recipe_folder(), request.problem, request.text)


BUILT_IN = ("accuracy", "format", "language")


def check_reward_names(weights: Mapping[str, float], folder: Path | None = None) -> None:
    """Raise RewardError unless every name is a built-in reward or a function that can be imported.

    folder: the recipe's; modules beside it can be imported too.
    """
    for name in weights:
        if name in BUILT_IN:
            continue
        if ":" not in name:
            close = nearest(name, BUILT_IN)
            raise RewardError(
                f"unknown reward {name!r}: {f'did you mean {close}? ' if close else ''}There are "
                f"{', '.join(BUILT_IN)}; a function of your own is written package.module:function"
            )
        custom.load(name, folder)


def _verifier(problem: Problem) -> Verifier[Any]:
    if problem.verifier not in VERIFIERS:
        raise RewardError(f"problem {problem.id}: unknown verifier {problem.verifier!r}: use {', '.join(VERIFIERS)}")
    return VERIFIERS[problem.verifier]
