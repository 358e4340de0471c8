"""Runs a recipe's stages in order: skips what is finished, resumes what is half done, refuses what has changed.

A stage is finished when `stages/NAME/artifact.json` exists: it is written last, and holds the stage's identity.
"""

from __future__ import annotations

import errno
import importlib
import os
import platform
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r1kit import console, files, hashing, interrupt, machine
from r1kit.config import Recipe
from r1kit.errors import Interrupted, UserError
from r1kit.metrics.glossary import legend
from r1kit.model.reference import resolve_model
from r1kit.plan import Plan, plan
from r1kit.recipe import RecipeError, cross_checks, models_of
from r1kit.rewards import services
from r1kit.rewards.services import Settings
from r1kit.run.forecast import forecast, told
from r1kit.run.lineage import (
    Step,
    drop_replaced,
    fork,
    now,
    open_lineage,
    plan_steps,
    refuse_changes,
    require_stage,
    set_aside,
    to_redo,
)
from r1kit.stages.context import StageContext

STAGES: dict[str, str] = {  # kind -> module with `run(config, context) -> summary`
    "pretrain": "r1kit.stages.pretrain",
    "sft": "r1kit.stages.sft",
    "preference": "r1kit.stages.preference",
    "rl": "r1kit.stages.rl",
    "evaluate": "r1kit.stages.evaluate",
    "curate": "r1kit.stages.curate",
}
OUTPUTS = ("model", "data")  # what a stage hands on, hashed file by file in its artifact.json
RECORDS = "kept.jsonl"  # in data/: what a stage that makes data hands on
RESULTS = "data/results.json"  # what an evaluate stage found
DISK_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))  # as text: all that libraries in Rust report


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: where it is, how long this invocation took, what its evaluate stages found."""

    dir: Path
    seconds: float
    evals: Mapping[str, Any]  # stage -> {"model", "benchmarks"}


def run(
    recipe: Recipe,
    run_dir: Path | str | None = None,
    *,
    until: str | None = None,
    redo_from: str | None = None,
    fork_to: Path | str | None = None,
) -> RunResult:
    """Run `recipe` in `run_dir` (default runs/NAME), up to and including stage `until`.

    The same call again continues where it stopped. With `redo_from`, that stage and all that depends on it are done
    again. With `fork_to` it runs there instead, and takes from `run_dir` the finished stages that are what the recipe
    asks for. UserError if the recipe has changed under the run, the directory holds something else, another process is
    at work in it or the disk is full; Interrupted on ^C and SIGTERM.
    """
    machine.tune_allocator()
    if mistakes := cross_checks(recipe):
        raise RecipeError("\n".join(f"{'.'.join(map(str, at))}: {text}" for at, text in mistakes))
    if until is not None:
        require_stage("until", until, recipe.stage)
    if redo_from is not None and fork_to is not None:
        raise UserError("--from does stages again where they are, and --fork begins elsewhere: give one of them")
    named = Path(run_dir) if run_dir is not None else Path("runs") / recipe.name
    here, forked_from = (named, None) if fork_to is None else (Path(fork_to), named)
    start = time.monotonic()
    try:
        with _locked(here), interrupt.heeded():
            _run_stages(recipe, here, forked_from, until, redo_from)
    except KeyboardInterrupt:  # between stages
        raise Interrupted("interrupted; run the same command again to continue") from None
    except Exception as error:
        if isinstance(error, UserError) or not any(full in str(error) for full in DISK_FULL):
            raise
        raise UserError(
            f"{here}: no more can be written ({error}). Free some space, then run the same command again: it goes on "
            "where it was"
        ) from error
    found = {name: here / "stages" / name / RESULTS for name in recipe.stage}
    evals = {name: files.read_json(path) for name, path in found.items() if path.is_file()}
    return RunResult(here, time.monotonic() - start, evals)


def _run_stages(
    recipe: Recipe, run_dir: Path, forked_from: Path | None, until: str | None, redo_from: str | None
) -> None:
    device = machine.choose_device(recipe.device)
    dtype = recipe.dtype if recipe.dtype != "auto" else machine.choose_dtype(device)
    steps = plan_steps(recipe, dtype)
    if forked_from is not None:
        fork(steps, forked_from, run_dir)
    redone = to_redo(redo_from, steps, run_dir) if redo_from else []
    refuse_changes([step for step in steps if step not in redone], run_dir)
    if redone:
        set_aside(redone, run_dir)
    lineage = open_lineage(recipe, run_dir, device, dtype)
    planned = plan(recipe)
    for i, step in enumerate(steps, start=1):
        title = f"stage {i}/{len(steps)} {step.name} ({step.config.kind})"
        if (run_dir / "stages" / step.name / "artifact.json").is_file():
            console.say(f"{title}: finished already, skipped")
        else:
            console.say("\n".join([title + _times(planned, run_dir, until), *legend(getattr(step.config, "legend", {}), step.config.kind)]))
            _run_stage(step, recipe, run_dir, device, lineage)
        if step.name == until:
            break
    drop_replaced(run_dir)


def _times(planned: Plan, run_dir: Path, until: str | None) -> str:
    """How long the finished stages took and what is left may take, for the line that begins a stage."""
    names = [stage.name for stage in planned.stages]
    wanted = names if until is None else names[: names.index(until) + 1]
    made = {name: run_dir / "stages" / name / "artifact.json" for name in names}
    took = {name: files.read_json(path).get("seconds", 0.0) for name, path in made.items() if path.is_file()}
    left = {name: seconds for name, seconds in forecast(planned, took).items() if name in wanted}
    return f", {console.duration(sum(took.values()))} so far, to go {told(left)}" if took else ""


def _run_stage(step: Step, recipe: Recipe, run_dir: Path, device: str, lineage: dict[str, Any]) -> None:
    directory = run_dir / "stages" / step.name
    begun = lineage["stages"].get(step.name, {}) if directory.is_dir() else {}
    directory.mkdir(parents=True, exist_ok=True)
    for parent in (directory.parent, run_dir, run_dir.parent):
        files.fsync(parent)
    failure = directory / "error.txt"
    failure.unlink(missing_ok=True)
    record = {"started": now(), **begun, **step.record()}
    models = {name: _model(name, recipe, run_dir) for name in models_of(step.config, recipe.stage)}
    made = [source for source in getattr(step.config, "data", ()) if source in recipe.stage]
    data = {source: _published(source, "data", run_dir) / RECORDS for source in made}
    record["revisions"] = {name: path.name for name, path in models.items() if path.parent.name == "snapshots"}  # hub's
    lineage["stages"][step.name] = record
    files.write_json(run_dir / "lineage.json", lineage)
    grading = Settings(recipe.sandbox, recipe.folder and str(recipe.folder), timeout=recipe.reward_timeout)
    services.configure(grading)
    shared = {"reward_workers": recipe.reward_workers, "grading": asdict(grading)}
    context = StageContext(
        step.name, directory, step.seed, step.dtype, device, recipe.max_concurrent, models, data, **shared
    )
    start, before = time.monotonic(), record.get("seconds", 0.0)
    try:
        summary = importlib.import_module(STAGES[step.config.kind]).run(step.config, context)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted in stage {step.name}; {_advice(directory)}") from None
    except Exception as error:
        error.add_note(f"stage {step.name} failed; the traceback is in {failure}")
        with _as_far_as_possible(failure):
            files.write_bytes(failure, traceback.format_exc().encode())
        raise
    finally:
        record["seconds"] = before + time.monotonic() - start
        record |= {"sandbox": tier} if (tier := services.tier()) else {}
        with _as_far_as_possible(run_dir / "lineage.json"):
            files.write_json(run_dir / "lineage.json", lineage)
    _finish(step, directory, record, summary)
    files.write_json(run_dir / "lineage.json", lineage)
    console.say(f"{step.name}: done in {console.duration(record['seconds'])}")


def _finish(step: Step, directory: Path, record: dict[str, Any], summary: Mapping[str, Any]) -> None:
    """Publish what the stage made: artifact.json appears last, once all it vouches for is on disk."""
    files.sync_tree(directory)
    parts = [part for part in OUTPUTS if (directory / part).is_dir()]
    outputs = {f"{part}/{file}": sha for part in parts for file, sha in hashing.manifest(directory / part).items()}
    record["finished"] = now()
    done = {"name": step.name, **record, "summary": summary, "outputs": outputs}
    files.write_json(directory / "artifact.json", done)


def _advice(directory: Path) -> str:
    checkpoints = any((directory / "checkpoints").glob("[!.]*"))
    return f"run the same command again to continue from {'its last checkpoint' if checkpoints else 'its start'}"


@contextmanager
def _as_far_as_possible(path: Path) -> Iterator[None]:
    """What is noted in passing must not hide the error that is on its way."""
    try:
        yield
    except OSError as error:
        console.say(f"warning: {path} could not be written ({error.strerror})")


# -- what stages read ---------------------------------------------------------------------------------------------


def _model(reference: str, recipe: Recipe, run_dir: Path) -> Path:
    """The checkpoint a stage reads."""
    return _published(reference, "model", run_dir) if reference in recipe.stage else resolve_model(reference)


def _published(stage: str, part: str, run_dir: Path) -> Path:
    """What an earlier stage made, checked against the hashes it was published with."""
    made = run_dir / "stages" / stage
    published = files.read_json(made / "artifact.json")["outputs"]
    found = {f"{part}/{file}": sha for file, sha in hashing.manifest(made / part).items()}
    wrong = [name for name, sha in published.items() if name.startswith(f"{part}/") and found.get(name) != sha]
    if wrong:
        raise UserError(
            f"{made}: {', '.join(wrong)} differ from what stage {stage} published: damaged or edited. Restore "
            "them, or run the recipe in another --run-dir (what you edited can be named there instead of the stage)"
        )
    return made / part


# -- the run directory --------------------------------------------------------------------------------------------


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """Hold the directory against other processes. The system lets go of the lock however this process ends."""
    import fcntl

    lock = run_dir / ".lock"
    is_run = lock.exists() or (run_dir / "recipe.toml").exists()
    if run_dir.exists() and not is_run and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise UserError(f"{run_dir}: holds something other than a run; give an empty or new --run-dir")
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(lock, "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            raise UserError(f"{run_dir}: {owner} is running in it; wait for it, or use another --run-dir") from None
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {platform.node()}")
        handle.flush()
        yield
