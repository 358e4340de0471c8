"""Estimate how long the unfinished stages of a run take from its finished stages of the same kind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import prod

from r1kit import files
from r1kit.config import RL, StageConfig
from r1kit.console import duration
from r1kit.metrics.log import read_metrics
from r1kit.metrics.pace import seconds_left
from r1kit.plan import Plan, StagePlan
from r1kit.run_dir import RunDir, StageDir

WORK_COUNTS = ("tokens_per_step", "steps", "epochs", "samples_per_problem")  # without completions


def work(stage: StagePlan, counts: Collection[str]) -> float:
    """Return the product of the parameters and these counts, comparable between stages of one kind only.

    The number of problems and records is not known before they are read, so it is assumed to be equal.
    """
    return float(stage.parameters or 1) * prod(stage.counts.get(name, 1) for name in counts)


def finished_seconds(run: RunDir, names: Iterable[str]) -> dict[str, float]:
    """Map the finished ones of these stages to the seconds they took."""
    artifacts = {name: run.stage(name).artifact for name in names if run.stage(name).is_finished}
    return {name: float(files.read_json(path).get("seconds", 0)) for name, path in artifacts.items()}


def forecast(plan: Plan, finished: Mapping[str, float]) -> dict[str, float | None]:
    """Estimate the seconds of every unfinished stage; None if no stage of its kind has finished.

    `finished` maps finished stages to the seconds they took.
    """
    estimates: dict[str, float | None] = {}
    for stage in plan.stages:
        if stage.name in finished:
            continue
        same_kind = [other for other in plan.stages if other.kind == stage.kind and other.name in finished]
        has_completions = all("completions" in each.counts for each in (stage, *same_kind))
        counts = ("completions",) if has_completions else WORK_COUNTS
        total = sum(work(other, counts) for other in same_kind)
        rate = sum(finished[other.name] for other in same_kind) / total if same_kind else None
        estimates[stage.name] = None if rate is None else rate * work(stage, counts)
    return estimates


def unfinished_seconds(directory: StageDir, config: StageConfig, checkpoint: int) -> float | None:
    """Estimate the seconds that a half-done stage still needs from those that its logged steps took.

    Args:
        directory: The stage.
        config: The stage's config.
        checkpoint: The step that the stage continues from.

    Returns:
        None without a logged step, or if the number of steps is not known before the data is read.
    """
    counts = config.counts()
    if "steps" not in counts:
        return None
    evaluations = 1 / config.eval_every if isinstance(config, RL) and config.eval_every else 0.0
    rows = list(read_metrics(directory.metrics))
    return seconds_left(rows, counts["steps"], checkpoint, counts.get("steps_per_rollout", 1), evaluations)


def format_remaining(remaining: Mapping[str, float | None]) -> str:
    """Format the sum of the estimates, and the number of stages without one."""
    known = [seconds for seconds in remaining.values() if seconds is not None]
    unknown = len(remaining) - len(known)
    rest = f"{unknown} stage{'s' * (unknown > 1)} without an estimate"
    if not known:
        return rest if unknown else "0:00"
    return f"about {duration(sum(known))}" + (f" and {rest}" if unknown else "")
