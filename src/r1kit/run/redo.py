"""Run finished stages again (`--from`): their results are moved to RUN/replaced and deleted once all are replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from r1kit import files
from r1kit.console import say
from r1kit.run.changes import recorded_inputs
from r1kit.run.resolve import ResolvedStage, require_stage
from r1kit.run_dir import RunDir


def stages_to_redo(name: str, stages: Sequence[ResolvedStage], run: RunDir) -> list[ResolvedStage]:
    """Return the stage and all stages that depend on it, in order.

    Returns an empty list if they are already being run again with the same recipe. UserError if there is no such stage.
    """
    require_stage("from", name, [stage.name for stage in stages])
    first, *dependent = with_dependents(name, stages)
    recorded = recorded_inputs(run, name)
    is_same = recorded is None or recorded["identity"] == first.identity
    return [] if (run.replaced / name).is_dir() and is_same else [first, *dependent]


def with_dependents(name: str, stages: Sequence[ResolvedStage]) -> list[ResolvedStage]:
    """Return the stage and all stages that depend on it, in order."""
    dependent: dict[str, ResolvedStage] = {}
    for stage in stages:
        if stage.name == name or not dependent.keys().isdisjoint(stage.parents):
            dependent[stage.name] = stage
    return list(dependent.values())


def move_aside(stages: Sequence[ResolvedStage], run: RunDir) -> None:
    """Move the results of these stages to RUN/replaced, so that the stages run again.

    The last stage is moved first: if this is interrupted, no remaining stage lacks its parent.
    """
    moved = []
    for stage in reversed(stages):
        current, replaced = run.stage(stage.name).path, run.replaced / stage.name
        replaced.parent.mkdir(exist_ok=True)
        if not current.is_dir():
            replaced.mkdir(exist_ok=True)
        elif replaced.is_dir():  # `current` is an unfinished second attempt; keep the first result
            shutil.rmtree(current)
        else:
            os.rename(current, replaced)
            files.fsync(current.parent)
            moved.append(stage.name)
        files.fsync(replaced.parent)
    if moved:
        names = ", ".join(reversed(moved))
        say(f"running again: {names}. The previous results stay in {run.replaced} until all have finished")


def delete_replaced(run: RunDir) -> None:
    """Delete RUN/replaced once every stage in it has finished again."""
    names = [path.name for path in run.replaced.glob("*")]
    if names and all(run.stage(name).is_finished for name in names):
        hidden = run.replaced.with_name(f".{run.replaced.name}")
        shutil.rmtree(hidden, ignore_errors=True)
        os.rename(run.replaced, hidden)
        shutil.rmtree(hidden)
