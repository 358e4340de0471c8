"""`--set key.path=value`: change single keys of a recipe before it is checked."""

from __future__ import annotations

import tomllib
from typing import Any

from r1kit import errors
from r1kit.config import Location
from r1kit.recipe.errors import RecipeError


def override(data: dict[str, Any], text: str) -> Location:
    """Set one key of the raw recipe in place and return its path. Values are TOML or bare words.

    Raises RecipeError if `text` is not `key.path=value`, or the path leads to an unknown stage or through a value.
    """
    key, equals, value = text.partition("=")
    path = _key_path(key) if equals else []
    if not path:
        raise RecipeError(f"--set {text}: write it as key.path=value, for example --set stage.zero.steps=10")
    stages = data.get("stage", {})
    if path[0] == "stage" and len(path) > 1 and isinstance(stages, dict) and path[1] not in stages:
        close = errors.nearest(path[1], stages)
        hint = f"did you mean {close}?" if close else f"stages: {', '.join(stages)}"
        raise RecipeError(f"--set {text}: there is no stage {path[1]}; {hint}")
    table = data
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {text}: {part} is {table!r}, not a table; set {part} itself")
    table[path[-1]] = _value(text, value.strip())
    return tuple(path)


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
