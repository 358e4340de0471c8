"""Whether a run is running, stopped, failed or done, at which stage, and how long that still takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from r1kit.metrics.pace import seconds_left
from r1kit.run_dir import RunDir, StageDir

StageState = Literal["done", "failed", "under way", "not started"]
RunState = Literal["running", "stopped", "failed", "done"]


def is_locked(run: RunDir) -> bool:
    """Return whether a process works in the run's directory."""
    import fcntl

    try:
        with open(run.lock, "rb") as handle:
            fcntl.flock(
                handle, fcntl.LOCK_SH | fcntl.LOCK_NB
            )  # `run.lock` tries again, so this moment does not stop it
    except BlockingIOError:
        return True
    except OSError:  # no lock file: not started, or copied
        return False
    return False


def stage_state(stage: StageDir) -> StageState:
    """Return the state of a stage, whether or not a process works on it."""
    if stage.is_finished:
        return "done"
    if stage.error.is_file():
        return "failed"
    return "under way" if stage.path.is_dir() else "not started"


def run_state(run: RunDir, stages: Iterable[StageState]) -> RunState:
    """Return the state of a run whose stages have these states."""
    states = list(stages)
    if is_locked(run):
        return "running"
    if states and all(state == "done" for state in states):
        return "done"
    return "failed" if "failed" in states else "stopped"


def present_stage(states: Mapping[str, StageState]) -> str | None:
    """Return the stage under way, else the next one, else the last; None for a run without stages."""
    begun = [name for name, state in states.items() if state in ("under way", "failed")]
    waiting = [name for name, state in states.items() if state == "not started"]
    return next(iter([*begun[-1:], *waiting, *reversed(list(states))]), None)


def stage_seconds_left(config: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], step: float) -> float | None:
    """Estimate the seconds that a stage needs after `step`, from the timings of its rows; None if it cannot be known.

    `config` is the stage's part of the resolved recipe. Stages that train on records know their number of steps only
    after they have read them.
    """
    steps, every = config.get("steps"), config.get("eval_every")
    if not isinstance(steps, int) or steps <= step:
        return None
    evaluations = 1 / every if isinstance(every, int) and every > 0 else 0.0
    per_rollout = config.get("steps_per_rollout")
    updates = per_rollout if isinstance(per_rollout, int) and per_rollout > 0 else 1
    return seconds_left(list(rows), steps, int(step), updates, evaluations)
