"""Change the settings of stages that have begun (`--amend`): they continue from their last checkpoint with new ones.

A stage that is amended at step N is a function of its checkpoint N and the new settings. The record of a stage in
lineage.json has its settings and its amendments, and is replaced atomically: a run that is killed earlier has not been
amended, and one that is killed later continues as amended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit import files
from r1kit.config import RL, Optimizer, Recipe, StageConfig
from r1kit.console import heartbeat, say
from r1kit.errors import UserError
from r1kit.files import find_damage
from r1kit.run.changes import changed_record, recorded_amendments, refuse_changes
from r1kit.run.differences import changed_values
from r1kit.run.records import Amendment, StageInputs, timestamp
from r1kit.run.redo import stages_to_redo, with_dependents
from r1kit.run.resolve import ResolvedStage, resolve_stages
from r1kit.run_dir import RunDir, StageDir
from r1kit.stages.context import Amended

WEIGHTS = "the weights in its checkpoint belong to the old one"
FIXED = {  # key -> why it cannot be amended
    **dict.fromkeys(("model", "lora_rank", "lora_alpha", "architecture", "vocab_size"), WEIGHTS),
    "adam_8bit": "the optimizer state in its checkpoint has the old format",
    "seed": "its random numbers until now follow from the old one",
    "dtype": "its steps until now were computed in the old one",
    "r1kit": "its steps until now were computed by the old version",
}
FIXED_BY_KIND: Mapping[str, Mapping[str, str]] = {
    "preference": {"objective": WEIGHTS},
    "pretrain": dict.fromkeys(
        ("corpus", "sequences_per_step", "context_length"), "its place in the corpus follows from the old one"
    ),
}
# Evaluations before and after a change of these keys measure the same.
COMPARABLE = {*Optimizer.model_fields, "steps", "epochs", "sequences_per_step", "beta", "eval_every", "save_every"}


@dataclass(frozen=True, slots=True)
class Work:
    """What a command does to the stages of a run before it runs them."""

    stages: list[ResolvedStage]  # all, as they will be
    redo: list[ResolvedStage]  # those that lose their results and run again
    amended: list[ResolvedStage]  # those that continue with new settings

    def runs(self, stage: ResolvedStage, run: RunDir) -> bool:
        """Return whether a stage is to be run, at least in part."""
        return stage in self.redo or stage in self.amended or not run.stage(stage.name).is_finished


def plan_work(recipe: Recipe, dtype: str, run: RunDir, redo_from: str | None, amend: bool) -> Work:
    """Compare a recipe with a run. Writes nothing.

    Raises:
        UserError: The recipe has changed in a stage that is neither run again nor amended, or cannot be amended.
    """
    history = recorded_amendments(run, recipe.stage)
    stages = resolve_stages(recipe, dtype, history)
    redo = {stage.name for stage in stages_to_redo(redo_from, stages, run)} if redo_from else set()
    amended: list[str] = []
    if redo:
        history = {name: history[name] for name in history.keys() - redo}
        stages = resolve_stages(recipe, dtype, history)
    while amend and (change := _first_change(stages, run, {*redo, *amended})) is not None:
        stage, recorded = change
        amendment = _amendment(stage, recorded, run.stage(stage.name))
        history[stage.name] = [*recorded["amendments"], amendment] if amendment["step"] else []
        amended.append(stage.name)
        stages = resolve_stages(recipe, dtype, history)
        dependent = with_dependents(stage.name, stages)[1:]
        if any(run.stage(other.name).has_progress for other in dependent):
            redo |= {other.name for other in dependent}
    work = Work(stages, [s for s in stages if s.name in redo], [s for s in stages if s.name in amended])
    refuse_changes(recipe, [stage for stage in stages if stage.name not in {*redo, *amended}], run)
    return work


def _first_change(
    stages: Sequence[ResolvedStage], run: RunDir, settled: set[str]
) -> tuple[ResolvedStage, StageInputs] | None:
    """Return the first changed stage, and what the run has recorded of it."""
    changed = ((stage, changed_record(stage, run)) for stage in stages if stage.name not in settled)
    return next(((stage, record) for stage, record in changed if record is not None), None)


def _amendment(stage: ResolvedStage, recorded: StageInputs, directory: StageDir) -> Amendment:
    """Return the amendment that makes the record describe the stage. UserError if there can be none."""
    changed = changed_values(stage, recorded)
    step = newest_intact(directory)
    if reason := _refusal(stage, recorded, directory, changed, step):
        raise UserError(
            f"--amend: stage {stage.name} cannot continue with the change: {reason}. Leave out --amend and add --from "
            f"{stage.name} to run it again here, or --fork NEWDIR to run it in a new run"
        )
    last = recorded["amendments"][-1] if recorded["amendments"] else None
    before = last["sequences"] if last else 0
    drawn = (step - (last["step"] if last else 0)) * recorded["config"].get("sequences_per_step", 0)
    return Amendment(
        step=step, at=timestamp(), changed=changed, sequences=before + drawn, identity=recorded["identity"]
    )


def newest_intact(directory: StageDir) -> int:
    """Return the step of the newest checkpoint that is not damaged, or 0."""
    for path in sorted(directory.checkpoints.glob("step_*"), reverse=True):
        with heartbeat(f"verifying {path}"):
            if not find_damage(path):
                return int(path.name.removeprefix("step_"))
    return 0


def _refusal(
    stage: ResolvedStage,
    recorded: StageInputs,
    directory: StageDir,
    changed: Mapping[str, object],
    step: int,
) -> str | None:
    """Return why a stage cannot be amended at its last checkpoint, or None."""
    config, old = stage.config, recorded["config"]
    if "kind" in changed or config.output not in ("model", "reward model"):
        return f"a stage of kind {recorded['kind']} has no checkpoints that a changed one could continue from"
    if not step:
        return "it has finished, and its checkpoints are gone" if directory.is_finished else None
    fixed = {**FIXED, **FIXED_BY_KIND.get(config.kind, {}), str(config.model): WEIGHTS}
    if isinstance(config, RL) and config.critic is not None:
        if not old.get("critic"):
            return "its checkpoint holds no critic, for its objective had none"
        fixed |= {"critic.model": WEIGHTS, "critic.adam_8bit": FIXED["adam_8bit"], str(config.critic.model): WEIGHTS}
    parents = {**recorded["parents"], **stage.parents}
    for key in changed:
        if reason := fixed.get(key) or (None if key in parents else fixed.get(key.partition(".")[0])):
            return f"{key} has changed, and {reason}"
    if isinstance(config, RL) and config.beta and not old["beta"]:
        return "beta was 0, so its checkpoint holds no reference model"
    return _length_refusal(config, old, directory.is_finished, step)


def _length_refusal(config: StageConfig, old: Mapping[str, Any], is_finished: bool, step: int) -> str | None:
    """Return why a stage cannot have the new number of steps or epochs, or None."""
    key = "steps" if hasattr(config, "steps") else "epochs"
    now = getattr(config, key)
    if is_finished and now <= old[key]:
        return f"it has finished with {key} = {old[key]}, and {key} = {now} leaves nothing to train"
    if key == "steps" and now < step:
        return f"steps = {now}, but its last checkpoint is of step {step}"
    return None


def apply_amendments(work: Work, run: RunDir) -> None:
    """Record the amendments, after which the stages continue with their new settings."""
    if not work.amended:
        return
    lineage = files.read_json(run.lineage)
    for stage in work.amended:
        step, record = last_amended(stage).step, lineage["stages"][stage.name]
        _delete_rollouts_after(step, run.stage(stage.name).rollouts)
        lineage["stages"][stage.name] = {k: v for k, v in record.items() if k != "finished"} | stage.inputs()
        where = f"continues from step {step}" if step else "starts again, for it has no checkpoint,"
        say(f"{stage.name}: {where} with the new settings")
    files.write_json(run.lineage, lineage)
    for stage in work.amended:  # until its artifact is gone, a finished stage counts as it was
        artifact = run.stage(stage.name).artifact
        artifact.unlink(missing_ok=True)
        files.fsync(artifact.parent)


def _delete_rollouts_after(step: int, folder: Path) -> None:
    """Delete completions that the stage will not sample again with the new settings."""
    for path in folder.glob("step_*.jsonl"):
        if int(path.stem.removeprefix("step_")) > step:
            path.unlink()


def last_amended(stage: ResolvedStage) -> Amended:
    """Return where the present settings of a stage begin."""
    if not stage.amendments:
        return Amended()
    last = stage.amendments[-1]
    here = (amendment["changed"] for amendment in stage.amendments if amendment["step"] == last["step"])
    return Amended(last["step"], last["sequences"], all(changed.keys() <= COMPARABLE for changed in here))
