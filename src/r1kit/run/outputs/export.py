"""Write a checkpoint of a stage as a Hugging Face model, also while the stage is unfinished."""

from __future__ import annotations

import importlib
from pathlib import Path

from r1kit.config import Recipe
from r1kit.errors import UserError
from r1kit.files import find_damage, read_json
from r1kit.recipe import load_recipe
from r1kit.run.execute import model_directory
from r1kit.run.records import StageRecord
from r1kit.run_dir import RunDir
from r1kit.stages.context import StageContext


def run_with_stage(run_dir: Path, stage: str) -> tuple[RunDir, Recipe]:
    """Return a run and its recipe. UserError if there is no such run, or it has no such stage."""
    run = RunDir(run_dir)
    if not run.recipe.is_file():
        raise UserError(f"{run_dir}: not the directory of a run: it has no {run.recipe.name}")
    recipe = load_recipe(str(run.recipe))
    if stage not in recipe.stage:
        raise UserError(f"{stage}: no such stage in {run_dir}; stages: {', '.join(recipe.stage)}")
    return run, recipe


def export(run_dir: Path, stage: str, step: int | None = None, out: Path | None = None) -> Path:
    """Write the model after `step` updates of a stage, in the dtype that the stage would publish. Return where it is.

    Args:
        run_dir: The directory of a run.
        stage: The name of a stage that trains a model: rl, sft or pretrain.
        step: A step with a checkpoint; the newest by default.
        out: The directory to write, which must not exist; RUN/exports/STAGE-step-N by default.

    Raises:
        UserError: There is no such run, stage or checkpoint, or the checkpoint is damaged.
    """
    run, recipe = run_with_stage(run_dir, stage)
    checkpoint, found = _checkpoint(run, stage, step)
    target = out or run.path / "exports" / f"{stage}-step-{found}"
    if target.exists():
        raise UserError(f"{target}: exists already: delete it, or give another directory with --out")
    _write(recipe, run, stage, checkpoint, target)
    return target


def _checkpoint(run: RunDir, stage: str, step: int | None) -> tuple[Path, int]:
    """Return a checkpoint and its step."""
    from r1kit.learn.checkpoint import checkpoints

    by_step = {int(path.name.removeprefix("step_")): path for path in checkpoints(run.stage(stage).checkpoints)}
    if not by_step:
        raise UserError(f"stage {stage}: no checkpoint in {run.stage(stage).checkpoints}: the first follows save_every")
    chosen = max(by_step) if step is None else step
    if chosen not in by_step:
        raise UserError(f"--step {step}: stage {stage} has checkpoints of the steps {', '.join(map(str, by_step))}")
    if faults := find_damage(by_step[chosen]):
        raise UserError(f"{by_step[chosen]} is damaged: {', '.join(faults)}. Use another step of {list(by_step)}")
    return by_step[chosen], chosen


def _write(recipe: Recipe, run: RunDir, stage: str, checkpoint: Path, target: Path) -> None:
    config = recipe.stage[stage]
    module = importlib.import_module(config.module)
    if not hasattr(module, "initial_model"):
        raise UserError(f"stage {stage} is of kind {config.kind}: must be rl, sft or pretrain")
    from r1kit.learn.checkpoint import load_weights
    from r1kit.learn.lora import merge_adapters
    from r1kit.model.dtypes import torch_dtype
    from r1kit.model.hf import publish_model

    record: StageRecord = read_json(run.lineage)["stages"][stage]
    models = {config.model: model_directory(config.model, recipe, run)} if config.model is not None else {}
    directory, at_once = run.stage(stage).path, recipe.max_concurrent
    context = StageContext(stage, directory, record["seed"], record["dtype"], "cpu", at_once, models)
    model, tokenizer = module.initial_model(config, context)
    load_weights(model, checkpoint)
    target.parent.mkdir(parents=True, exist_ok=True)
    publish_model(merge_adapters(model).to(torch_dtype(record["dtype"])), tokenizer, target)
