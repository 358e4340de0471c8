"""Rewards: what one completion earns, part by part. Accuracy and format by rule (paper eq. 4), and the user's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from numbers import Real
from typing import NamedTuple

from r1kit.artifact import UserError, nearest
from r1kit.rewards import countdown, math, names
from r1kit.rewards.extract import find_answers, rule_on
from r1kit.rewards.format import is_well_formed
from r1kit.rewards.verdict import Ruling, Verdict
from r1kit.types import Problem, Score

BUILT_IN = ("accuracy", "format")


class Verifier(NamedTuple):
    check: Callable[[Problem, str], Ruling]  # what holds of one extracted answer
    canonical: Callable[[str], str]  # one text for equal answers


VERIFIERS = {
    "math": Verifier(lambda problem, answer: math.check(problem.answer, answer), math.canonical),
    "countdown": Verifier(
        lambda problem, answer: Ruling.of(
            countdown.refute(answer, problem.extra["numbers"], problem.extra["target"])
        ),
        countdown.canonical,
    ),
    "names": Verifier(lambda problem, answer: Ruling.of(names.refute(problem.answer, answer)), names.canonical),
}
UserReward = Callable[[Problem, str], float]  # (problem, completion text) -> reward


class RewardError(UserError):
    """A reward that does not exist, or one that returned no number. Never scored as 0."""


def grade(problem: Problem, text: str, *, think_open: bool = False, truncated: bool = False) -> Verdict:
    """The accuracy reward: 1 when the response states the right answer and no other, else 0."""
    verifier = _verifier(problem)
    answers = find_answers(text, think_open, truncated)
    if not answers:
        return Verdict(0.0, None, "cut off before an answer" if truncated else "no answer found", "unparseable")
    status, reason = rule_on(answers, lambda answer: verifier.check(problem, answer))
    return Verdict(float(status == "right"), answers[-1], reason, status)


def canonical_answer(problem: Problem, extracted: str | None) -> str | None:
    """The extracted answer in a form in which equal answers are equal strings: what cons@k counts."""
    return None if extracted is None else _verifier(problem).canonical(extracted)


def score(
    problem: Problem, text: str, weights: Mapping[str, float], *, think_open: bool, answer_tags: bool, truncated: bool
) -> Score:
    """What a completion earns under `weights` (reward name -> weight).

    think_open: the prompt ended in `<think>`; answer_tags: the template asks for `<answer>`; truncated: the length cap
    cut the completion off, so its format is wrong and only an answer already closed counts.
    """
    verdict = grade(problem, text, think_open=think_open, truncated=truncated)
    parts = {}
    for name in weights:
        if name == "accuracy":
            parts[name] = verdict.value
        elif name == "format":
            parts[name] = float(not truncated and is_well_formed(text, think_open=think_open, answer_tags=answer_tags))
        else:
            parts[name] = _user_value(name, problem, text)
    total = sum(weight * parts[name] for name, weight in weights.items())
    return Score(total, parts, verdict.extracted, verdict.reason)


def check_reward_names(weights: Mapping[str, float]) -> None:
    """Raise RewardError unless every name is a built-in reward or a function that can be imported."""
    for name in weights:
        if name not in BUILT_IN:
            _user_reward(name)


def _verifier(problem: Problem) -> Verifier:
    if problem.verifier not in VERIFIERS:
        raise RewardError(f"problem {problem.id}: unknown verifier {problem.verifier!r}: use {', '.join(VERIFIERS)}")
    return VERIFIERS[problem.verifier]


def _user_value(name: str, problem: Problem, text: str) -> float:
    try:
        value = _user_reward(name)(problem, text)
    except RewardError:
        raise
    except Exception as error:
        raise RewardError(f"reward {name} failed on problem {problem.id}: {type(error).__name__}: {error}") from error
    if not isinstance(value, Real) or not isfinite(value):
        raise RewardError(f"reward {name} returned {value!r} for problem {problem.id}: it must return a finite number")
    return float(value)


@lru_cache
def _user_reward(name: str) -> UserReward:
    module, colon, function = name.partition(":")
    if not colon:
        close = nearest(name, BUILT_IN)
        hint = f"did you mean {close}? " if close else ""
        raise RewardError(
            f"unknown reward {name!r}: {hint}There are {' and '.join(BUILT_IN)}; "
            "a function of your own is written package.module:function"
        )
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # importing runs the user's module
        raise RewardError(
            f"reward {name}: {error}. The module must be importable from where r1kit runs: install it or set PYTHONPATH"
        ) from error
    if not callable(found):
        raise RewardError(f"reward {name} is a {type(found).__name__}: it must be a function of (problem, text)")
    return found
