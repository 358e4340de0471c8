"""Check a recipe without running it."""

from __future__ import annotations

from typing import Annotated

import typer

from r1kit.commands.options import Json, Overrides, RecipeName, RecipeSeed, load, print_json
from r1kit.console import warn

GPUs = Annotated[
    str | None,
    typer.Option(
        metavar="GPUS", help="plan for these GPUs instead of this machine: 8xH100, 64x8xH800 (nodes of eight)"
    ),
]
MeanLength = Annotated[int | None, typer.Option(min=1, help="with --gpus: tokens of a completion or record on average")]


def command(
    recipe: RecipeName,
    overrides: Overrides = None,
    gpus: GPUs = None,
    mean_length: MeanLength = None,
    seed: RecipeSeed = None,
    json_output: Json = False,
) -> None:
    """Check a recipe and show its stages with inputs, batch sizes and memory. Runs nothing.

    Exits with 2 where `run` would refuse the recipe on this machine. With --gpus it shows memory, hours and cost of
    each stage on those GPUs instead, and exits with 2 where one does not fit.
    """
    from r1kit import plan
    from r1kit.recipe import RecipeError
    from r1kit.run.preflight import preflight

    read = load(recipe, overrides, seed)
    if gpus is not None:
        on_cluster = plan.cluster_plan(read, plan.Cluster.parse(gpus), mean_length)
        reasons = [*on_cluster.errors.values()]
        if json_output:
            print_json({**on_cluster.to_json(), "errors": reasons})
        else:
            print(plan.render_cluster(on_cluster, mean_length), flush=True)
    else:
        planned, reasons = preflight(read)
        if json_output:
            for warning in planned.warnings:
                warn(f"{warning}")
            print_json({**planned.to_json(), "errors": reasons})
        else:
            print(plan.render(planned), flush=True)
    if reasons:
        raise RecipeError("\n".join(reasons))
