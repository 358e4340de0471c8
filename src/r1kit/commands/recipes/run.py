"""Run a recipe, continue it, or show what a run would do."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r1kit.commands import completion
from r1kit.commands.options import Json, Overrides, RecipeName, RecipeSeed, load, print_json
from r1kit.commands.runs import report
from r1kit.console import say
from r1kit.errors import UserError

if TYPE_CHECKING:
    from r1kit.config import Recipe


def command(
    recipe: RecipeName,
    run_dir: Annotated[Path | None, typer.Option(help="directory of the run; default: runs/NAME")] = None,
    overrides: Overrides = None,
    seed: RecipeSeed = None,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help="stop after this stage", autocompletion=completion.stages)
    ] = None,
    redo_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STAGE",
            help="run this stage and all that depend on it again",
            autocompletion=completion.stages,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only show which stages would be reused, resumed or run")
    ] = False,
    fork: Annotated[
        Path | None,
        typer.Option(metavar="NEWDIR", help="run here instead, reusing the unchanged finished stages of --run-dir"),
    ] = None,
    amend: Annotated[
        bool,
        typer.Option("--amend", help="continue begun stages from their last checkpoint with changed settings"),
    ] = False,
    json_output: Json = False,
) -> None:
    """Run a recipe, or continue it.

    The same command again continues where it stopped: finished stages are skipped, an unfinished one is resumed. Under
    torchrun, or with `processes` in the recipe, several processes train together.
    """
    loaded = load(recipe, overrides, seed)
    if dry_run and fork is not None:
        raise UserError("--dry-run shows no --fork: leave out one of them; --fork reuses finished, unchanged stages")
    if not dry_run and os.environ.get("RANK", "0") == "0":
        say(f"{loaded.name}, in {fork or run_dir or Path('runs') / loaded.name}")  # torch takes seconds to import
    from r1kit.learn.world import launched_rank, open_world
    from r1kit.run import pipeline, processes

    if dry_run and launched_rank():
        return None
    if dry_run:
        return _show_preview(loaded, run_dir or Path("runs") / loaded.name, until, redo_from, amend, json_output)
    if loaded.processes > 1 and launched_rank() is None:
        raise typer.Exit(processes.launch(loaded.processes))
    with open_world() as world:
        if not world.is_first:
            return processes.follow(world)
        result = pipeline.run(loaded, run_dir, until=until, redo_from=redo_from, fork_to=fork, amend=amend, world=world)
        processes.dismiss(world)
    page = report.write(result.dir)
    if json_output:
        print_json({"run": str(result.dir), "seconds": round(result.seconds, 1), "evals": result.evals})
    else:
        report.show(result.dir, page)


def _show_preview(
    recipe: Recipe, run_dir: Path, until: str | None, redo_from: str | None, amend: bool, json_output: bool
) -> None:
    from r1kit.run import preview

    forecasts = preview.preview(recipe, run_dir, until, redo_from, amend)
    if json_output:
        print_json({"run": str(run_dir), "stages": [asdict(stage) for stage in forecasts]})
    else:
        print(preview.render(run_dir, forecasts))
