"""Read recipes from TOML files and write them back."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from r1kit import files
from r1kit.bundled import bundled_recipes
from r1kit.config import STAGE_KINDS, Location, Recipe
from r1kit.recipe.checks import cross_checks
from r1kit.recipe.errors import Mistake, RecipeError, explain, unknown
from r1kit.recipe.extends import extended
from r1kit.recipe.overrides import override
from r1kit.run_dir import RunDir
from r1kit.synonyms import nearest


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a bundled recipe or a TOML file, apply overrides and check the result.

    `overrides` are texts such as `stage.zero.steps=10`, with values in TOML or as bare words.
    Raises RecipeError with one line for every mistake.
    """
    path = _find(name_or_path)
    return _load(_read(path), path, overrides)


def recipe_from(data: Mapping[str, Any], path: Path) -> Recipe:
    """Check a recipe that is a table in the TOML file `path`; it may extend others. RecipeError as in `load_recipe`."""
    return _load(_extended(dict(data), path, ()), path, ())


def _load(data: dict[str, Any], path: Path, overrides: Sequence[str]) -> Recipe:
    overridden = [override(data, text) for text in overrides]
    try:
        recipe = Recipe.model_validate(_with_defaults(data)).with_folder(_folder(path))
        mistakes = cross_checks(recipe)
    except ValidationError as error:
        mistakes = explain(error.errors(include_url=False))
    except RecipeError as error:
        raise RecipeError(f"{path.name}: {error}") from None
    if mistakes:
        raise RecipeError("\n".join(_lines(mistakes, data, path.name, overridden)))
    return recipe


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the content of a recipe and of the recipes that it extends; `above` are those that extend it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path.name}: not UTF-8 text ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path.name}: not valid TOML: {error}") from None
    if not data:
        raise RecipeError(f"{path.name}: the file is empty: a recipe needs a name and at least one [stage.NAME]")
    return _extended(data, path, above)


def _extended(data: dict[str, Any], path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Return a recipe written in `path` on top of the recipes that it extends."""
    base = data.pop("extends", None)
    if base is None:
        return data
    if not isinstance(base, str):
        raise RecipeError(f"{path.name}: extends = {base!r}: must be a bundled recipe or a .toml file")
    beside = path.parent / base
    found = beside if beside.is_file() else _find(base)
    if found.resolve() in (names := (*above, path.resolve())):
        raise RecipeError(f"{path.name}: extends = {base!r}: a recipe cannot extend itself")
    return extended(_read(found, names), data)


def dump_toml(recipe: Recipe) -> str:
    """Return the recipe as TOML with every default. `load_recipe` reads it back to an equal recipe."""
    import tomli_w

    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    bundled = bundled_recipes()
    if name_or_path in bundled:
        return bundled[name_or_path]
    if path.is_dir():
        names = sorted(path.glob("*.toml"))
        hint = f", such as {names[0]}" if names else f" (bundled: {', '.join(bundled)})"
        raise RecipeError(f"{name_or_path}: a directory, not a recipe: give a .toml file{hint}")
    beside = [str(file) for file in sorted(path.parent.glob("*.toml"))]
    close = nearest(str(path), beside) or nearest(path.name.removesuffix(".toml"), bundled)
    hint = f"did you mean {close}? " if close else ""
    raise RecipeError(f"{name_or_path}: neither a file nor a bundled recipe; {hint}bundled: {', '.join(bundled)}")


def _lines(
    mistakes: Iterable[Mistake], data: Mapping[str, Any], file: str, overridden: Sequence[Location]
) -> list[str]:
    """Return one line per mistake, with the place where its key is written.

    A mistake in the defaults of a kind occurs in many stages but is shown once.
    """
    written = [replace(mistake, location=_written_at(data, mistake.location)) for mistake in mistakes]
    is_override = {m: any(m.location[: len(key)] == key for key in overridden) for m in written}
    return [f"{'--set' if by_option else file}: {mistake}" for mistake, by_option in is_override.items()]


def _with_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in keys from [defaults.KIND] that a stage does not set. Tables are taken whole, not merged."""
    defaults, stages = data.get("defaults", {}), data.get("stage")
    if not isinstance(defaults, dict) or not all(isinstance(table, dict) for table in defaults.values()):
        raise RecipeError("defaults must have one table for each kind of stage, such as [defaults.rl]")
    for kind in defaults:
        if kind not in STAGE_KINDS:
            raise RecipeError(f"defaults.{kind}: {unknown('kind of stage', kind, STAGE_KINDS)}")
    rest = {key: value for key, value in data.items() if key != "defaults"}
    if not isinstance(stages, dict):
        return rest
    filled = {
        name: {**defaults.get(str(stage.get("kind")), {}), **stage} if isinstance(stage, dict) else stage
        for name, stage in stages.items()
    }
    return {**rest, "stage": filled}


def _written_at(data: Mapping[str, Any], location: Location) -> Location:
    """Return where a stage's key is written: in the stage or in the defaults of its kind."""
    stage = data["stage"].get(location[1], {}) if len(location) > 2 and location[0] == "stage" else None
    if not isinstance(stage, dict) or location[2] in stage:
        return location
    kind = str(stage.get("kind"))
    in_defaults = location[2] in data.get("defaults", {}).get(kind, {})
    return ("defaults", kind, *location[2:]) if in_defaults else location


def _folder(path: Path) -> Path:
    """Return the directory for custom rewards: for RUN/recipe.toml, the original recipe's directory."""
    lineage = RunDir(path.parent).lineage
    folder = files.read_json(lineage).get("folder") if lineage.is_file() else None
    return Path(folder) if folder else path.parent.resolve()
