"""Run a recipe's stages in order: skip finished ones, resume unfinished ones, refuse changed ones.

A stage is finished when `stages/NAME/artifact.json` exists: it is written last, and holds the stage's identity.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit import console, files, interrupt, machine
from r1kit.config import Recipe
from r1kit.errors import Interrupted, UserError
from r1kit.learn.world import ALONE, World, require_gpus
from r1kit.metrics.glossary import legend
from r1kit.plan import Plan
from r1kit.recipe import RecipeError, cross_checks
from r1kit.run.amend import apply_amendments, plan_work
from r1kit.run.changes import recorded_amendments
from r1kit.run.execute import run_stage
from r1kit.run.forecast import finished_seconds, forecast, format_remaining
from r1kit.run.fork import fork
from r1kit.run.lineage import is_recorded, open_lineage
from r1kit.run.lock import locked
from r1kit.run.preflight import require_ready
from r1kit.run.redo import delete_replaced, move_aside
from r1kit.run.resolve import names_until, require_stage, resolve_stages
from r1kit.run.tracking import tracked
from r1kit.run_dir import RunDir

DISK_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))  # libraries written in Rust report only the text


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of `run`."""

    dir: Path
    seconds: float  # of this call
    evals: Mapping[str, Any]  # evaluate stage -> {"model", "benchmarks"}


def run(
    recipe: Recipe,
    run_dir: Path | str | None = None,
    *,
    until: str | None = None,
    redo_from: str | None = None,
    fork_to: Path | str | None = None,
    amend: bool = False,
    world: World = ALONE,
) -> RunResult:
    """Run a recipe. The same call again continues where it stopped.

    Args:
        recipe: The recipe, from `load_recipe`.
        run_dir: Where results go; runs/NAME by default.
        until: The last stage to run.
        redo_from: A stage to run again, with all stages that depend on it.
        fork_to: A directory to run in instead, starting with the finished stages of `run_dir` that have not changed.
        amend: Whether stages that have begun continue with the recipe's settings where these have changed.
        world: The processes that train together, if there are several; this is the first of them.

    Raises:
        UserError: The recipe has changed since the run was started, the directory contains something else or is in use
            by another process, or the disk is full.
        Interrupted: ^C or SIGTERM arrived.
    """
    machine.tune_allocator()
    if mistakes := cross_checks(recipe):
        raise RecipeError("\n".join(map(str, mistakes)))
    if until is not None:
        require_stage("until", until, recipe.stage)
    if redo_from is not None and fork_to is not None:
        raise UserError("--from runs stages again in place, and --fork starts a new run: use one of them")
    if amend and fork_to is not None:
        raise UserError("--amend continues stages in place, and --fork starts a new run: use one of them")
    given = RunDir(Path(run_dir) if run_dir is not None else Path("runs") / recipe.name)
    here, forked_from = (given, None) if fork_to is None else (RunDir(Path(fork_to)), given)
    start = time.monotonic()
    try:
        with locked(here), interrupt.signal_handlers():
            _run_stages(recipe, here, forked_from, until, redo_from, amend, world)
    except KeyboardInterrupt:  # between stages
        raise Interrupted("interrupted; run the same command again to continue") from None
    except Exception as error:
        if isinstance(error, UserError) or not any(text in str(error) for text in DISK_FULL):
            raise
        raise UserError(
            f"{here.path}: the disk is full ({error}). Free some space, then run the same command again to continue"
        ) from error
    results = {name: here.stage(name).results for name in recipe.stage}
    evals = {name: files.read_json(path) for name, path in results.items() if path.is_file()}
    return RunResult(here.path, time.monotonic() - start, evals)


def _run_stages(
    recipe: Recipe,
    run: RunDir,
    forked_from: RunDir | None,
    until: str | None,
    redo_from: str | None,
    amend: bool,
    world: World,
) -> None:
    compute = machine.choose_compute(recipe.device, recipe.dtype)
    require_gpus(compute.device)
    if forked_from is not None:
        history = recorded_amendments(forked_from, recipe.stage)
        fork(resolve_stages(recipe, compute.dtype, history), forked_from, run)
    work = plan_work(recipe, compute.dtype, run, redo_from, amend)
    unfinished = [stage.name for stage in work.stages if work.runs(stage, run)]
    to_do = [name for name in names_until(list(recipe.stage), until) if name in unfinished]
    planned = require_ready(recipe, to_do, run.path)
    if work.redo:
        move_aside(work.redo, run)
    apply_amendments(work, run)
    is_known = is_recorded(recipe, run)
    lineage = open_lineage(recipe, run, compute)
    for warning in planned.warnings_of(to_do):
        if is_known:  # --quiet hides what was printed when the run began
            console.say(f"warning: {warning}")
        else:
            console.warn(warning)
    with tracked(run, recipe.track if to_do else []):
        for i, stage in enumerate(work.stages, start=1):
            title = f"stage {i}/{len(work.stages)} {stage.name} ({stage.config.kind})"
            if run.stage(stage.name).is_finished:
                console.say(f"{title}: already finished, skipped")
            else:
                lines = legend(stage.config.legend, stage.config.kind)
                console.say("\n".join([title + _times(planned, run, until), *lines]))
                run_stage(stage, recipe, run, compute, lineage, planned.stages[i - 1], world)
            if stage.name == until:
                break
    delete_replaced(run)


def _times(planned: Plan, run: RunDir, until: str | None) -> str:
    """Return the time that finished stages took and an estimate for the rest, or "" before any has finished."""
    names = [stage.name for stage in planned.stages]
    finished = finished_seconds(run, names)
    wanted = names_until(names, until)
    remaining = {name: seconds for name, seconds in forecast(planned, finished).items() if name in wanted}
    elapsed = console.duration(sum(finished.values()))
    return f", {elapsed} so far, remaining: {format_remaining(remaining)}" if finished else ""
