"""Ask sympy, inside the sandbox, whether two formulas are equal: the last resort after all cheaper methods."""

from __future__ import annotations

import json
from functools import lru_cache

from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.verdict import Ruling, Status

# Usual cases take 1 to 40 % of the fuel; all of it burns in under a second. Native tiers use the seconds instead.
FUEL, SECONDS = 600_000_000, 2.0


class Undecided(Exception):
    """Raised when the comparison has no result; `ruling` says why."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.ruling = Ruling(status, reason)


@lru_cache(maxsize=4096)
def proved_equal(gold: str, answer: str) -> bool:
    """Return whether sympy proves two formulas equal. Raises Undecided, which is not cached."""
    from r1kit.rewards.sandbox.base import Limits, Task

    try:
        sandbox = services.sandbox()
    except UserError as error:
        raise Undecided("infra_error", f"no sandbox for sympy: {error}") from error
    limits = Limits(fuel=FUEL, cpu_seconds=SECONDS)
    outcome = sandbox.run(Task("symbolic", "", (json.dumps([gold, answer]),)), limits).outcomes[0]
    if outcome.status == "infra_error":
        raise Undecided("infra_error", f"the sandbox for sympy failed: {outcome.detail}")
    if outcome.status == "over_limit":
        raise Undecided("over_limit", f"{answer!r} takes too long to compare with {gold!r}")
    if not isinstance(outcome.value, bool):
        reason = f"{answer!r} and {gold!r} agree in numbers, but equality could not be proved"
        raise Undecided("unparseable", f"{reason}: {outcome.detail}" if outcome.detail else reason)
    return outcome.value
