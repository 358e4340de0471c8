"""Check a recipe without running it."""

from __future__ import annotations

from r1kit.commands.options import Json, Overrides, RecipeName, RecipeSeed, load, print_json
from r1kit.console import say


def command(
    recipe: RecipeName, overrides: Overrides = None, seed: RecipeSeed = None, json_output: Json = False
) -> None:
    """Check a recipe and show its stages with inputs, batch sizes and memory. Runs nothing.

    Exits with 2 where `run` would refuse the recipe on this machine.
    """
    from r1kit import plan
    from r1kit.recipe import RecipeError
    from r1kit.run.preflight import preflight

    planned, reasons = preflight(load(recipe, overrides, seed))
    if json_output:
        for warning in planned.warnings:
            say(f"warning: {warning}")
        print_json({**planned.to_json(), "errors": reasons})
    else:
        print(plan.render(planned), flush=True)
    if reasons:
        raise RecipeError("\n".join(reasons))
