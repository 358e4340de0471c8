"""List recipes and their keys, or print one."""

from __future__ import annotations

from typing import Annotated

import typer

from r1kit.commands import completion
from r1kit.commands.options import Json, Overrides, load, print_json


def command(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE", help="a recipe to print; default: list all", autocompletion=completion.recipes
        ),
    ] = None,
    overrides: Overrides = None,
    keys: Annotated[bool, typer.Option("--keys", help="list every key with its type, default and range")] = False,
    json_output: Json = False,
) -> None:
    """List the bundled recipes, print one with every default, or list all keys that a recipe may have."""
    from r1kit.recipe.keys import listing

    data, text = listing(None if recipe is None else load(recipe, overrides, None), keys)
    print_json(data) if json_output else print(text)
