"""How an RL step's time divides among the paper's four modules (supplement, B.1), from the timings of its rows.

    rollout               time/rollout
    inference             time/reference + time/reward_models + time/values
    rule-based rewards    time/grade - time/reward_models: what grading adds after the last completion is sampled
    training              time/update - time/reference

These are seconds of the trainer. What passes beside its work (time/overlapped/, worker processes) counts on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1kit.metrics.history import is_number

COUNTS = ("time/grading/failed", "time/grading/restarts")  # the only values under time/grading/ that are no seconds


@dataclass(frozen=True, slots=True)
class ModuleTime:
    """One part of a stage's time."""

    name: str
    seconds: float
    """Of the trainer, a step."""
    share: float
    """Of the trainer's time."""
    overlapped: float
    """Seconds a step in which the module worked beside others; of rules, summed over worker processes."""


def module_times(rows: Sequence[Mapping[str, Any]]) -> list[ModuleTime]:
    """Return the mean seconds a step of each module, and of what else the stage does; [] without rollouts."""
    steps = [row for row in rows if row.get("step") and is_number(row.get("time/step"))]
    if not any("time/rollout" in row for row in steps):
        return []

    def mean(name: str) -> float:
        return float(sum(row[name] for row in steps if is_number(row.get(name)))) / len(steps)

    models, reference = mean("time/reward_models"), mean("time/reference")
    seconds = {
        "rollout": mean("time/rollout"),
        "inference": reference + models + mean("time/values"),
        "rule-based rewards": mean("time/grade") - models,
        "training": mean("time/update") - reference,
        "evaluation": mean("time/eval"),
        "checkpoints": mean("time/save"),
    }
    total = mean("time/step") + seconds["checkpoints"]  # saved between two steps
    seconds["other"] = max(0.0, total - sum(seconds.values()))
    verifiers = {name for row in steps for name in row if name.startswith("time/grading/")} - {*COUNTS}
    in_processes = sum(map(mean, verifiers)) - seconds["rule-based rewards"]
    overlapped = {
        "rollout": mean("time/overlapped/rollout"),
        "rule-based rewards": max(mean("time/overlapped/grade"), in_processes, 0.0),
    }
    return [
        ModuleTime(name, value, value / total if total else 0.0, overlapped.get(name, 0.0))
        for name, value in seconds.items()
    ]
