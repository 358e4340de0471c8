"""Compare a recipe with the stages that a run has already started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from r1kit import files
from r1kit.config import Recipe
from r1kit.errors import UserError
from r1kit.run.differences import differences
from r1kit.run.records import Amendment, StageInputs
from r1kit.run.resolve import ResolvedStage
from r1kit.run_dir import RunDir


def refuse_changes(recipe: Recipe, stages: Sequence[ResolvedStage], run: RunDir) -> None:
    """Raise UserError if the recipe describes one of the stages differently than the run that started it."""
    changed = [(stage, record) for stage in stages if (record := changed_record(stage, run)) is not None]
    if not changed:
        return
    old_seed = files.read_json(run.lineage).get("seed", recipe.seed) if run.lineage.is_file() else recipe.seed
    lines: dict[str, None] = {}  # a change at the top of the recipe affects several stages
    for stage, record in changed:
        lines |= dict.fromkeys(differences(stage, record, recipe.stage, (old_seed, recipe.seed)))
    first = changed[0][0].name
    listed = "\n".join(f"  {line}" for line in lines or [f"stage {first} reads the result of a stage that has changed"])
    raise UserError(
        f"{run.path}: the recipe or its data has changed since this run was started:\n{listed}\nAdd --amend to "
        f"continue {first} from its last checkpoint with the change, where that is possible. Or use another --run-dir "
        f"for the changed recipe. Or add --from {first} to run that stage and the stages that depend on it again here. "
        "Or add --fork NEWDIR to start a run there with the finished stages that have not changed. To continue the "
        f"original: r1kit run {run.recipe} --run-dir {run.path}"
    )


def changed_record(stage: ResolvedStage, run: RunDir) -> StageInputs | None:
    """Return what the run has recorded of a stage that is different now."""
    recorded = recorded_inputs(run, stage.name)
    return None if recorded is None or recorded["identity"] == stage.identity else recorded


def recorded_inputs(run: RunDir, name: str) -> StageInputs | None:
    """Return the inputs of a stage that has written something here; None if it has not, or failed at its start."""
    stage = run.stage(name)
    if stage.is_finished:
        record = files.read_json(stage.artifact)
    elif stage.has_progress and run.lineage.is_file():
        record = files.read_json(run.lineage)["stages"].get(name)
    else:
        return None
    if not record:
        return None
    known = {"amendments": [], **record}  # older runs do not have this key
    return cast(StageInputs, {key: known[key] for key in StageInputs.__annotations__})


def recorded_amendments(run: RunDir, names: Iterable[str]) -> dict[str, list[Amendment]]:
    """Map stages that have been amended to their amendments."""
    recorded = {name: record for name in names if (record := recorded_inputs(run, name)) is not None}
    return {name: record["amendments"] for name, record in recorded.items() if record["amendments"]}


def flatten(value: object, path: str = "") -> dict[str, Any]:
    """Map dotted paths to the leaves of nested mappings."""
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    parts = [flatten(item, f"{path}.{key}" if path else key) for key, item in value.items()]
    return {key: item for part in parts for key, item in part.items()}
