"""The table of verifiers. To add one: a file that defines a `Verifier` (see checks/base.py), and a line here."""

from __future__ import annotations

from typing import Any

from r1kit.rewards.checks import (
    choice,
    countdown,
    environment,
    ifeval,
    json_schema,
    knights,
    names,
    prose,
    reasoning_gym,
    text,
)
from r1kit.rewards.checks.base import Verifier
from r1kit.rewards.code import repository
from r1kit.rewards.code import verifier as code
from r1kit.rewards.custom import RewardError
from r1kit.rewards.judge import accuracy as judge
from r1kit.rewards.math import verifier as math
from r1kit.synonyms import nearest

VERIFIERS: dict[str, Verifier[Any]] = {
    "math": math.VERIFIER,
    "code": code.VERIFIER,
    "cruxeval": code.CRUXEVAL,
    "repository": repository.VERIFIER,
    "choice": choice.VERIFIER,
    "countdown": countdown.VERIFIER,
    "knights": knights.VERIFIER,
    "ifeval": ifeval.VERIFIER,
    "rules": prose.RULES,
    "json": json_schema.VERIFIER,
    "exact": text.EXACT,
    "fuzzy": text.FUZZY,
    "told": text.TOLD,
    "names": names.VERIFIER,
    "judge": judge.VERIFIER,
    "reasoning_gym": reasoning_gym.VERIFIER,
    "environment": environment.VERIFIER,
}


def verifier_named(name: str) -> Verifier[Any]:
    """Return a verifier. RewardError lists the allowed names when there is none."""
    if name not in VERIFIERS:
        close = nearest(name, VERIFIERS)
        hint = f"did you mean {close}? " if close else ""
        raise RewardError(f"unknown verifier {name!r}: {hint}Use one of {', '.join(VERIFIERS)}")
    return VERIFIERS[name]
