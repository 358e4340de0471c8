"""Compare a recipe with the stages that a run has already started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from r1kit import files
from r1kit.errors import UserError
from r1kit.run.records import StageInputs
from r1kit.run.resolve import ResolvedStage
from r1kit.run_dir import RunDir


def refuse_changes(stages: Sequence[ResolvedStage], run: RunDir) -> None:
    """Raise UserError if the recipe describes a stage differently than the run that started it."""
    lines, first_changed = [], ""
    stage_parents = {f"parents.{stage.name}" for stage in stages}  # reported with the stage itself
    for stage in stages:
        recorded = recorded_inputs(run, stage.name)
        if recorded is None or recorded["identity"] == stage.identity:
            continue
        first_changed = first_changed or stage.name
        old, new = flatten(recorded), flatten(stage.inputs())
        keys = [key for key in {**old, **new} if key != "identity" and old.get(key) != new.get(key)]
        for key in [key for key in keys if key not in stage_parents] or keys:
            name = f"stage.{stage.name}.{key.removeprefix('config.')}"
            lines.append(f"  {name}: was {old.get(key, 'absent')}, now {new.get(key, 'absent')}")
    if lines:
        raise UserError(
            f"{run.path}: the recipe has changed since this run was started:\n" + "\n".join(lines) + "\nUse another "
            f"--run-dir for the changed recipe. Or add --from {first_changed} to run that stage and the stages that "
            "depend on it again here. Or add --fork NEWDIR to start a run there with the finished stages that have not "
            f"changed. To continue the original: r1kit run {run.recipe} --run-dir {run.path}"
        )


def recorded_inputs(run: RunDir, name: str) -> StageInputs | None:
    """Return the inputs of a stage that has written something here; None if it has not, or failed at its start."""
    stage = run.stage(name)
    if stage.is_finished:
        record = files.read_json(stage.artifact)
    elif stage.has_progress and run.lineage.is_file():
        record = files.read_json(run.lineage)["stages"].get(name)
    else:
        return None
    return cast(StageInputs, {key: record[key] for key in StageInputs.__annotations__}) if record else None


def flatten(value: object, path: str = "") -> dict[str, Any]:
    """Map dotted paths to the leaves of nested mappings."""
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    parts = [flatten(item, f"{path}.{key}" if path else key) for key, item in value.items()]
    return {key: item for part in parts for key, item in part.items()}
