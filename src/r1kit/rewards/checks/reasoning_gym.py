"""Tasks of reasoning-gym, judged by the check of their own family.

The check runs in a native tier of the sandbox, because it is third-party code that may evaluate the answer and may not
terminate. Only full marks count as right, not the partial credit that some families give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from r1kit.rewards import services
from r1kit.rewards.checks.base import Verifier, fields, judge_answers
from r1kit.rewards.sandbox.base import Limits, Sandbox, Task
from r1kit.rewards.sandbox.guest.gym import OTHER_TASK
from r1kit.rewards.verdict import Ruling
from r1kit.types import Problem

MAX_CHARACTERS = 10_000  # of an answer
LIMITS = Limits(cpu_seconds=20.0, memory_bytes=2 << 30)  # some families take long to generate a task


def check(sandbox: Sandbox, task: Mapping[str, Any], answer: str) -> Ruling:
    """Judge an answer to a task, whose keys sandbox/guest/gym.py describes."""
    if len(answer) > MAX_CHARACTERS:
        reason = f"the answer has {len(answer)} characters: at most {MAX_CHARACTERS} are allowed"
        return Ruling("over_limit", reason)
    outcome = sandbox.run(Task("gym", "", (json.dumps({**task, "answer": answer}),)), LIMITS).outcomes[0]
    if outcome.status in ("over_limit", "infra_error"):
        return Ruling(outcome.status, outcome.detail)
    if outcome.status == "error":
        return Ruling("unparseable", outcome.detail)
    if not isinstance(outcome.value, float):
        return Ruling("infra_error" if outcome.value == OTHER_TASK else "unparseable", str(outcome.value))
    return Ruling.of(None if outcome.value >= 1 else f"{task['family']} scores it {outcome.value:.2f} of 1")


_TASK = ("family", "seed", "size", "index")


def _read(problem: Problem) -> dict[str, Any]:
    return {name: problem.extra[name] for name in _TASK} | {"question": problem.question}


VERIFIER = Verifier(
    _read,
    judge_answers(lambda task, answer: check(services.native_sandbox(), task, answer)),
    from_row=fields(*_TASK),
    service="native sandbox",
)
