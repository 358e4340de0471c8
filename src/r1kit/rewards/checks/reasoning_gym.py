"""Whether an answer to a task of reasoning-gym is right by the check that its family brings along.

The check runs in a native tier of the sandbox: it is other people's code, may evaluate the answer, and may not end.
Full marks count; what some families give for an attempt does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from r1kit.rewards.sandbox.base import Limits, Sandbox, Task
from r1kit.rewards.sandbox.guest.gym import OTHER_TASK
from r1kit.rewards.verdict import Ruling

LONGEST = 10_000  # characters of an answer
LIMITS = Limits(cpu_seconds=20.0, memory_bytes=2 << 30)  # some families are slow to make their tasks


def check(sandbox: Sandbox, task: Mapping[str, Any], answer: str) -> Ruling:
    """task: see guest/gym.py."""
    if len(answer) > LONGEST:
        return Ruling("over_limit", f"the answer has {len(answer)} characters, allowed are {LONGEST}")
    outcome = sandbox.run(Task("gym", "", (json.dumps({**task, "answer": answer}),)), LIMITS).outcomes[0]
    if outcome.status in ("over_limit", "infra_error"):
        return Ruling(outcome.status, outcome.detail)
    if outcome.status == "error":
        return Ruling("unparseable", outcome.detail)
    if not isinstance(outcome.value, float):
        return Ruling("infra_error" if outcome.value == OTHER_TASK else "unparseable", str(outcome.value))
    return Ruling.of(None if outcome.value >= 1 else f"{task['family']} gives {outcome.value:.2f} of 1 for it")
