"""Show what a command would do to a run directory (`--dry-run`). Writes nothing and takes no lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from r1kit import machine
from r1kit.config import Recipe
from r1kit.console import duration
from r1kit.plan import show_bytes
from r1kit.report.ancestry import describe_amendment
from r1kit.run.amend import Work, plan_work
from r1kit.run.forecast import finished_seconds, forecast, format_remaining, unfinished_seconds
from r1kit.run.preflight import require_ready
from r1kit.run.records import Amendment
from r1kit.run.resolve import ResolvedStage, names_until, require_stage
from r1kit.run_dir import RunDir

Action = Literal["reuse", "resume", "amend", "run", "redo"]


@dataclass(frozen=True, slots=True)
class StageForecast:
    """What would happen to one stage."""

    name: str
    kind: str
    action: Action
    start: str  # the checkpoint to resume from, or ""
    seconds: float | None  # measured if the stage is finished, else an estimate of those that remain
    memory: int | None  # peak, in bytes
    amendments: Sequence[Amendment] = ()


def preview(
    recipe: Recipe, run_dir: Path, until: str | None = None, redo_from: str | None = None, amend: bool = False
) -> list[StageForecast]:
    """Return a forecast of every stage up to `until`. UserError where `pipeline.run` would raise it."""
    if until is not None:
        require_stage("until", until, recipe.stage)
    run = RunDir(run_dir)
    dtype = machine.choose_compute(recipe.device, recipe.dtype).dtype
    work = plan_work(recipe, dtype, run, redo_from, amend)
    actions = {stage.name: _action(stage, work, run) for stage in work.stages}
    measured = finished_seconds(run, [name for name, (action, _) in actions.items() if action != "amend"])
    to_do = [name for name in names_until(list(actions), until) if name not in measured]
    planned = require_ready(recipe, to_do, run_dir)
    half_done = {
        name: unfinished_seconds(run.stage(name), recipe.stage[name], _step(checkpoint))
        for name, (action, checkpoint) in actions.items()
        if action in ("resume", "amend")
    }
    estimated = {name: seconds for name, seconds in half_done.items() if seconds is not None}
    seconds = {**forecast(planned, measured), **estimated, **measured}
    memory = {stage.name: stage.memory.get("peak") for stage in planned.stages}
    amendments = {stage.name: stage.amendments for stage in work.stages}
    return [
        StageForecast(name, recipe.stage[name].kind, *actions[name], seconds[name], memory[name], amendments[name])
        for name in names_until(list(actions), until)
    ]


def _action(stage: ResolvedStage, work: Work, run: RunDir) -> tuple[Action, str]:
    directory = run.stage(stage.name)
    if stage in work.redo and directory.path.is_dir():
        return "redo", ""
    if stage in work.amended:
        return ("amend", f"step_{stage.amendments[-1]['step']:08d}") if stage.amendments else ("run", "")
    if directory.is_finished:
        return "reuse", ""
    checkpoints = sorted(path.name for path in directory.checkpoints.glob("step_*"))
    return ("resume" if directory.has_progress else "run"), checkpoints[-1] if checkpoints else ""


def _step(checkpoint: str) -> int:
    return int(checkpoint.removeprefix("step_") or 0)


def render(run_dir: Path, forecasts: Sequence[StageForecast]) -> str:
    """Format the preview as text."""
    lines = [f"{run_dir}: {len(forecasts)} stages; nothing was run or written"]
    titles = [f"{i}/{len(forecasts)} {stage.name} ({stage.kind})" for i, stage in enumerate(forecasts, start=1)]
    width = max(map(len, titles))
    for title, stage in zip(titles, forecasts, strict=True):
        time = "" if stage.seconds is None else duration(stage.seconds)
        time = f"took {time}" if stage.action == "reuse" else f"about {time}" if time else "no estimate"
        facts = [f"{stage.action}{f' from {stage.start}' if stage.start else ''}", time]
        facts += [f"{show_bytes(stage.memory)} at peak"] if stage.memory and stage.action != "reuse" else []
        lines.append(f"  {title:{width}}  {', '.join(facts)}")
        lines += [f"  {'':{width}}    {describe_amendment(amendment)}" for amendment in stage.amendments]
    to_do = [stage for stage in forecasts if stage.action != "reuse"]
    remaining = format_remaining({stage.name: stage.seconds for stage in to_do})
    peak = max((stage.memory or 0 for stage in to_do), default=0)
    memory = f"; about {show_bytes(peak)} of memory" if peak else ""
    return "\n".join([*lines, f"to do: {len(to_do)} of {len(forecasts)} stages, {remaining}{memory}"])
