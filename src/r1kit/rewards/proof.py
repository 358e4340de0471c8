"""Asking sympy, inside the sandbox, whether two formulas are equal. Only what nothing cheaper decides comes here."""

from __future__ import annotations

import json
import os
import threading
from functools import lru_cache

from r1kit.artifact import UserError
from r1kit.rewards.verdict import Ruling, Status

_local = threading.local()  # a sandbox is for one thread of one process


class Undecided(Exception):
    """No verdict on the answer itself; the ruling says why."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.ruling = Ruling(status, reason)


@lru_cache(maxsize=4096)
def proved_equal(gold: str, answer: str) -> bool:
    """Whether sympy finds two formulas equal. Raises Undecided; that is cached by nobody."""
    from r1kit.rewards.sandbox.base import Limits, Task

    task = Task("symbolic", "", (json.dumps([gold, answer]),))
    outcome = _sandbox().run(task, Limits()).outcomes[0]
    if outcome.status == "infra_error":
        raise Undecided("infra_error", f"the sandbox for sympy broke: {outcome.detail}")
    if outcome.status == "over_limit":
        raise Undecided("over_limit", f"{answer!r} takes too long to compare with {gold!r}")
    if not isinstance(outcome.value, bool):
        raise Undecided(
            "unparseable", f"{answer!r} agrees with {gold!r} in numbers, but could not be shown to equal it"
        )
    return outcome.value


def _sandbox():
    if getattr(_local, "process", None) != os.getpid():
        from r1kit.rewards.sandbox import open_sandbox

        try:
            _local.sandbox = open_sandbox()
        except UserError as error:
            raise Undecided("infra_error", f"no sandbox for sympy: {error}") from error
        _local.process = os.getpid()
    return _local.sandbox
