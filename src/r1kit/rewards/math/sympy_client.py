"""Asking sympy, inside the sandbox, whether two formulas are equal. Only what nothing cheaper decides comes here."""

from __future__ import annotations

import json
from functools import lru_cache

from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.verdict import Ruling, Status

# Of the fuel usual cases take 1 to 40 %; all of it burns in well under a second. The seconds are for native tiers.
FUEL, SECONDS = 600_000_000, 2.0


class Undecided(Exception):
    """No verdict on the answer itself; the ruling says why."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.ruling = Ruling(status, reason)


@lru_cache(maxsize=4096)
def proved_equal(gold: str, answer: str) -> bool:
    """Whether sympy finds two formulas equal. Raises Undecided, which is not cached."""
    from r1kit.rewards.sandbox.base import Limits, Task

    try:
        sandbox = services.sandbox()
    except UserError as error:
        raise Undecided("infra_error", f"no sandbox for sympy: {error}") from error
    limits = Limits(fuel=FUEL, cpu_seconds=SECONDS)
    outcome = sandbox.run(Task("symbolic", "", (json.dumps([gold, answer]),)), limits).outcomes[0]
    if outcome.status == "infra_error":
        raise Undecided("infra_error", f"the sandbox for sympy broke: {outcome.detail}")
    if outcome.status == "over_limit":
        raise Undecided("over_limit", f"{answer!r} takes too long to compare with {gold!r}")
    if not isinstance(outcome.value, bool):
        why = "agrees in numbers, but could not be shown to be equal"
        raise Undecided("unparseable", f"{answer!r} and {gold!r}: {why} {outcome.detail}".rstrip())
    return outcome.value
