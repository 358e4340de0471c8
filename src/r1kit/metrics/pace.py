"""How long a stage still takes, from what its first steps took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

CALIBRATION_STEPS = 3  # after which a stage tells how long it takes


def seconds_left(
    rows: Sequence[Mapping[str, Any]],
    steps: int,
    done: int,
    steps_per_rollout: int = 1,
    evaluations_per_step: float = 0.0,
    evaluation_size: float = 0.0,
) -> float | None:
    """Estimate the seconds of the steps after `done`. Sampling, updates and evaluations are counted by themselves.

    The first rollout and update are left out where there are others: they allocate memory and fill caches.

    Args:
        rows: The logged rows, with their durations.
        steps: The number of steps of the stage.
        done: The steps that need no time any more.
        steps_per_rollout: Updates on the completions of one rollout.
        evaluations_per_step: Evaluations on held-out problems, in the mean over steps.
        evaluation_size: Completions of an evaluation, divided by those of a rollout. Counts until one is logged.

    Returns:
        None without a logged step.
    """
    timed = [row for row in rows if row.get("step") and "time/step" in row]
    if not timed:
        return None
    left = max(0, steps - done)
    evaluations = [row["time/eval"] for row in timed if "time/eval" in row]
    sampled = [row for row in timed if "time/rollout" in row and "time/update" in row]
    if not sampled:
        spent = sum(row["time/step"] for row in timed)
        return float(spent / timed[-1]["step"] * left)
    rollouts = [row["time/step"] - row["time/update"] - row.get("time/eval", 0.0) for row in sampled]
    per_rollout = fmean(rollouts[1:] or rollouts)
    updates = [row["time/update"] for row in timed if "time/update" in row]
    per_update = fmean(updates[1:] or updates)
    per_evaluation = fmean(evaluations) if evaluations else evaluation_size * per_rollout
    return left * (per_rollout / steps_per_rollout + per_update + evaluations_per_step * per_evaluation)
