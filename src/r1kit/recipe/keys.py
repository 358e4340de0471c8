"""The keys of a recipe as data and as text, for `r1kit recipe --keys`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from r1kit.bundled import bundled_recipes
from r1kit.config import STAGE_KINDS, Recipe
from r1kit.recipe import reference
from r1kit.recipe.load import dump_toml

INDENT = 6


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    key: str
    type: str
    default: str | None
    """The default as TOML; "" if the key may be absent, None if it is required."""
    range: str
    paper: str
    """The value in the DeepSeek-R1 paper, or ""."""
    description: str


def tables() -> dict[str, list[Key]]:
    """Return the keys of every table, by its name in a recipe: "recipe", "stage.NAME (rl)", "prompt source", ..."""
    listed: dict[str, list[Key]] = {"recipe": keys_of(Recipe)}
    listed |= {f"stage.NAME ({kind})": keys_of(stage) for kind, stage in STAGE_KINDS.items()}
    listed |= {reference.table_name(table): keys_of(table) for table in dict.fromkeys(reference.nested_tables(Recipe))}
    return listed


def keys_of(table: type[BaseModel]) -> list[Key]:
    """Return the keys of one table in the order of the reference page."""
    return [
        Key(_plain(key), _plain(kind), None if default == "required" else _plain(default), limits, paper, _plain(text))
        for key, kind, default, limits, paper, text in reference.rows(table)
    ]


def listing(recipe: Recipe | None, all_keys: bool) -> tuple[dict[str, Any], str]:
    """Return what `r1kit recipe` prints, as JSON-compatible data and as text."""
    if all_keys:
        return to_json(), render()
    if recipe is not None:
        return recipe.model_dump(mode="json"), dump_toml(recipe).rstrip()
    names = list(bundled_recipes())
    return {"recipes": names}, "\n".join(names)


def to_json() -> dict[str, list[dict[str, Any]]]:
    """Return all keys as JSON-compatible data."""
    return {name: [asdict(key) for key in keys] for name, keys in tables().items()}


def render(width: int = 100) -> str:
    """Return all keys as text that is at most `width` characters wide."""
    lines = []
    for name, keys in tables().items():
        lines += [name, ""]
        for key in keys:
            lines += _lines(key, width)
        lines.append("")
    return "\n".join(lines).rstrip()


def _lines(key: Key, width: int) -> Iterator[str]:
    value = "  (required)" if key.default is None else f" = {key.default}" if key.default else "  (optional)"
    yield f"  {key.key}{value}"
    facts = ", ".join(fact for fact in (key.type, key.range) if fact)
    paper = f" Paper: {key.paper}." if key.paper else ""
    text = f"{facts}. {key.description}{paper}"
    indent = " " * INDENT
    yield from textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _plain(cell: str) -> str:
    """Return a cell of the reference page without Markdown."""
    return re.sub(r"\[([^\]]*)\]\(#[^)]*\)", r"\1", cell).replace("`", "")
