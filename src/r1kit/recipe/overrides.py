"""`--set key.path=value`: change single keys of a recipe before it is checked."""

from __future__ import annotations

import tomllib
from typing import Any

from r1kit.config import STAGE_KINDS, Location, Recipe
from r1kit.recipe.errors import RecipeError
from r1kit.synonyms import nearest


def override(data: dict[str, Any], text: str) -> Location:
    """Set one key of the raw recipe in place and return its path. Values are TOML or bare words.

    Raises RecipeError if `text` is not `key.path=value`, or the path leads to an unknown stage or through a value.
    """
    key, equals, value = text.partition("=")
    path = _key_path(key) if equals else []
    if not path:
        raise RecipeError(f"--set {text}: write it as key.path=value, for example --set stage.zero.steps=10")
    stages = data.get("stage", {})
    if isinstance(stages, dict):
        _check_stage(text, path, list(stages))
    table = data
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {text}: {part} is {table!r}, not a table; set {part} itself")
    table[path[-1]] = _value(text, value.strip())
    return tuple(path)


def _check_stage(text: str, path: list[str], stages: list[str]) -> None:
    """Refuse a path to an unknown stage, or to a stage without the prefix `stage`."""
    first, *rest = path
    if first == "stage" and rest and rest[0] not in stages:
        close = nearest(rest[0], stages)
        hint = f"did you mean {close}?" if close else f"stages: {', '.join(stages)}"
        raise RecipeError(f"--set {text}: there is no stage {rest[0]}; {hint}")
    if not rest or first in (*Recipe.model_fields, "defaults"):
        return
    meant = None
    if first == "stages" or (first in STAGE_KINDS and first not in stages):
        meant = ["stage" if first == "stages" else f"defaults.{first}", *rest]
    elif close := nearest(first, stages):
        meant = ["stage", close, *rest]
    if meant:
        raise RecipeError(f"--set {text}: {first} is no table of a recipe; did you mean {'.'.join(meant)}?")


def _key_path(key: str) -> list[str]:
    """Return the parts of a TOML key; an empty list if it is not one."""
    try:
        nested: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return []
    path: list[str] = []
    while isinstance(nested, dict) and len(nested) == 1:
        [(part, nested)] = nested.items()
        path.append(part)
    return path if nested == 0 else []


def _value(text: str, value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        if value[:1] in tuple("[{\"'") or not value:
            example = """--set 'stage.zero.prompts=["world:arithmetic"]'"""
            message = f"--set {text}: the value is not valid TOML ({error}); for example {example}"
            raise RecipeError(message) from None
        return value
