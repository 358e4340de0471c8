"""Run one stage: verify its inputs, call its module, publish its result."""

from __future__ import annotations

import importlib
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from r1kit import console, files, hashing, machine
from r1kit.config import Recipe, StageConfig
from r1kit.engine.base import EngineChoice
from r1kit.errors import Interrupted, UserError
from r1kit.learn.world import ALONE, World, launched_processes, lost_ranks_named
from r1kit.machine import Compute
from r1kit.model.reference import resolve_model
from r1kit.plan import StagePlan
from r1kit.rewards import services
from r1kit.rewards.judge.endpoint import Endpoint
from r1kit.rewards.services import Settings
from r1kit.run.amend import last_amended
from r1kit.run.records import Lineage, StageRecord, timestamp
from r1kit.run.resolve import ResolvedStage
from r1kit.run_dir import RunDir, StageDir
from r1kit.stages.context import StageContext


def run_stage(
    stage: ResolvedStage,
    recipe: Recipe,
    run: RunDir,
    compute: Compute,
    lineage: Lineage,
    planned: StagePlan,
    world: World = ALONE,
) -> None:
    """Run a stage from its start or its last checkpoint, and publish its result.

    Called on the first rank. The others learn of stages that train through `world`; see `run.processes`.

    Raises:
        Interrupted: ^C or SIGTERM arrived. What was saved is kept.
        UserError: An input was damaged or edited since its stage published it.
    """
    directory = run.stage(stage.name)
    record = _start_record(stage, directory, lineage)
    models = {name: model_directory(name, recipe, run) for name in stage.config.models_read(recipe.stage)}
    made_here = [source for source in stage.config.data_read() if source in recipe.stage]
    data = {source: _verified(recipe, run, source).records for source in made_here}
    # The hub's cache names the directory of a model after its commit.
    record["revisions"] = {name: path.name for name, path in models.items() if path.parent.name == "snapshots"}
    lineage["stages"][stage.name] = record
    files.write_json(run.lineage, lineage)
    grading = _grading(recipe, directory)
    context = StageContext(
        stage.name,
        directory.path,
        stage.seed,
        stage.dtype,
        compute.device,
        recipe.max_concurrent,
        models,
        data,
        reward_workers=recipe.reward_workers,
        grading=asdict(grading),
        kv_cache_tokens=planned.kv_cache_tokens,
        held_out=stage.held_out,
        world=world,
        engine=EngineChoice.of(recipe.engine, directory.pushed_weights),
        since=last_amended(stage),
    )
    with _recorded(run, directory, record, lineage):
        if stage.config.output == "model":  # all ranks train; the first alone curates and evaluates
            world.from_first(lambda: (stage.config, context))
        else:
            context = replace(context, world=ALONE)
        summary = run_module(stage.config, context)
    shutil.rmtree(directory.pushed_weights, ignore_errors=True)
    with console.heartbeat(f"publishing the output of {stage.name}"):
        publish_artifact(stage, directory, record, summary)
    files.write_json(run.lineage, lineage)
    console.say(f"{stage.name}: done in {console.duration(record['seconds'])}")


def run_module(config: StageConfig, context: StageContext) -> dict[str, Any]:
    """Run a stage in this process, and return its summary."""
    services.configure(Settings.from_dict(context.grading))
    _, here = launched_processes() if context.world.size > 1 else (1, 1)
    limited = machine.limited_memory(here) if context.device == "cpu" else nullcontext()
    with limited, lost_ranks_named():
        with console.heartbeat("importing PyTorch"):
            module = importlib.import_module(config.module)
        summary: dict[str, Any] = module.run(config, context)
    machine.free_memory()  # else the next stage begins with a heap full of holes
    return summary


def _start_record(stage: ResolvedStage, directory: StageDir, lineage: Lineage) -> StageRecord:
    """Create the stage's directory, and return its record with the times of earlier attempts."""
    previous = lineage["stages"].get(stage.name) if directory.path.is_dir() else None
    directory.path.mkdir(parents=True, exist_ok=True)
    stages = directory.path.parent
    for parent in (stages, stages.parent, stages.parent.parent):
        files.fsync(parent)
    directory.error.unlink(missing_ok=True)
    return cast(StageRecord, {"started": timestamp(), **(previous or {}), **stage.inputs()})


def _grading(recipe: Recipe, directory: StageDir) -> Settings:
    judge = None if recipe.judge is None else Endpoint.from_service(recipe.judge, directory.endpoint_cache)
    folder = None if recipe.folder is None else str(recipe.folder)
    return Settings(recipe.sandbox, folder, judge, recipe.reward_timeout)


@contextmanager
def _recorded(run: RunDir, directory: StageDir, record: StageRecord, lineage: Lineage) -> Iterator[None]:
    """Add the elapsed time and the outcome to the record, and save it even if the stage fails."""
    start, before = time.monotonic(), record.get("seconds", 0.0)
    try:
        yield
    except KeyboardInterrupt:
        checkpoints = any(directory.checkpoints.glob("[!.]*"))
        raise Interrupted(
            f"interrupted in stage {directory.path.name}; run the same command again to continue from "
            + ("its last checkpoint" if checkpoints else "its start")
        ) from None
    except Exception as error:
        error.add_note(f"stage {directory.path.name} failed; the traceback is in {directory.error}")
        with _warn_on_failure(directory.error):
            files.write_bytes(directory.error, traceback.format_exc().encode())
        raise
    finally:
        record["seconds"] = before + time.monotonic() - start
        if (tier := services.tier()) is not None:
            record["sandbox"] = tier
        with _warn_on_failure(run.lineage):
            files.write_json(run.lineage, lineage)


@contextmanager
def _warn_on_failure(path: Path) -> Iterator[None]:
    """Report a failed write as a warning, so that it does not hide the error of the stage."""
    try:
        yield
    except OSError as error:
        console.warn(f"{path} could not be written ({error.strerror})")


def publish_artifact(
    stage: ResolvedStage, directory: StageDir, record: StageRecord, summary: Mapping[str, Any]
) -> None:
    """Write artifact.json, after everything it describes is on disk."""
    files.sync_tree(directory.path)
    folders = [folder for folder in (directory.model, directory.data) if folder.is_dir()]
    outputs = {f"{folder.name}/{name}": sha for folder in folders for name, sha in hashing.manifest(folder).items()}
    record["finished"] = timestamp()
    files.write_json(directory.artifact, {"name": stage.name, **record, "summary": summary, "outputs": outputs})


# -- inputs -------------------------------------------------------------------------------------------------------


def model_directory(reference: str, recipe: Recipe, run: RunDir) -> Path:
    """Return the checkpoint directory of a model reference in the recipe."""
    return _verified(recipe, run, reference).model if reference in recipe.stage else resolve_model(reference)


def _verified(recipe: Recipe, run: RunDir, name: str) -> StageDir:
    """Return the directory of an earlier stage after comparing its output with the published hashes."""
    directory = run.stage(name)
    folder = recipe.stage[name].output_folder
    published = files.read_json(directory.artifact)["outputs"]
    with console.heartbeat(f"verifying the output of {name}"):
        actual = {f"{folder}/{file}": sha for file, sha in hashing.manifest(directory.path / folder).items()}
    changed = [file for file, sha in published.items() if file.startswith(f"{folder}/") and actual.get(file) != sha]
    if changed:
        raise UserError(
            f"{directory.path}: {', '.join(changed)} differ from what stage {name} published: damaged or edited. "
            "Restore them, or run the recipe in another --run-dir. To use edited files there, name their directory in "
            "the recipe instead of the stage"
        )
    return directory
