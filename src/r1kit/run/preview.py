"""What `r1kit run` would do in a run directory, before it does: nothing is written, no lock is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from r1kit import files, machine
from r1kit.config import Recipe
from r1kit.console import duration
from r1kit.plan import plan, show_bytes
from r1kit.run.forecast import forecast, told
from r1kit.run.lineage import Step, plan_steps, refuse_changes, require_stage, to_redo

Action = Literal["reuse", "resume", "run", "redo"]


@dataclass(frozen=True, slots=True)
class Ahead:
    """One stage, and what would become of it."""

    name: str
    kind: str
    action: Action
    start: str  # the checkpoint it would go on from; "" for none
    seconds: float | None  # what it took, or may take
    memory: int | None  # bytes at peak


def preview(recipe: Recipe, run_dir: Path, until: str | None = None, redo_from: str | None = None) -> list[Ahead]:
    """Every stage up to `until`. UserError where `pipeline.run` would refuse."""
    if until is not None:
        require_stage("until", until, recipe.stage)
    dtype = recipe.dtype if recipe.dtype != "auto" else machine.choose_dtype(machine.choose_device(recipe.device))
    steps = plan_steps(recipe, dtype)
    redone = to_redo(redo_from, steps, run_dir) if redo_from else []
    refuse_changes([step for step in steps if step not in redone], run_dir)
    actions = {step.name: _action(step, step in redone, run_dir) for step in steps}
    took = {
        name: float(files.read_json(run_dir / "stages" / name / "artifact.json").get("seconds", 0))
        for name in actions
        if (run_dir / "stages" / name / "artifact.json").is_file()
    }
    planned = plan(recipe)
    seconds = {**forecast(planned, took), **took}
    memory = {stage.name: stage.memory.get("peak") for stage in planned.stages}
    names = list(actions)
    names = names if until is None else names[: names.index(until) + 1]
    return [
        Ahead(name, recipe.stage[name].kind, *actions[name], seconds=seconds[name], memory=memory[name])
        for name in names
    ]


def _action(step: Step, redone: bool, run_dir: Path) -> tuple[Action, str]:
    directory = run_dir / "stages" / step.name
    if redone and directory.is_dir():
        return "redo", ""
    if (directory / "artifact.json").is_file():
        return "reuse", ""
    checkpoints = sorted(path.name for path in (directory / "checkpoints").glob("step_*"))
    begun = any(path.name != "error.txt" for path in directory.glob("*"))
    return ("resume" if begun else "run"), checkpoints[-1] if checkpoints else ""


def render(run_dir: Path, ahead: Sequence[Ahead]) -> str:
    """The preview as text."""
    lines = [f"{run_dir}: {len(ahead)} stages; nothing has been run or written"]
    names = [f"{i}/{len(ahead)} {stage.name} ({stage.kind})" for i, stage in enumerate(ahead, start=1)]
    width = max(map(len, names))
    for name, stage in zip(names, ahead, strict=True):
        time = "" if stage.seconds is None else duration(stage.seconds)
        time = f"took {time}" if stage.action == "reuse" else f"about {time}" if time else "no estimate"
        facts = [f"{stage.action}{f' from {stage.start}' if stage.start else ''}", time]
        facts += [f"{show_bytes(stage.memory)} at peak"] if stage.memory and stage.action != "reuse" else []
        lines.append(f"  {name:{width}}  {', '.join(facts)}")
    to_do = [stage for stage in ahead if stage.action != "reuse"]
    left = told({stage.name: stage.seconds for stage in to_do})
    peak = max((stage.memory or 0 for stage in to_do), default=0)
    memory = f"; about {show_bytes(peak)} of memory" if peak else ""
    return "\n".join([*lines, f"to do: {len(to_do)} of {len(ahead)} stages, {left}{memory}"])
