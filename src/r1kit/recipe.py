"""Recipes: TOML in, a typed `Recipe` out, and errors that name the file, the key and the nearest right one."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from r1kit import errors, files
from r1kit.config import RL, PromptSource, Recipe, Stage
from r1kit.metrics.watchdogs import WATCHDOGS
from r1kit.model.reference import bundled_models, is_hub_id, local_model

INSTALLED = Path(__file__).parent / "recipes"
CHECKOUT = Path(__file__).parents[2] / "recipes"  # where they are in an editable install
KINDS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(Stage)[0])
}
MAKES_MODEL = ("pretrain", "sft", "rl")
MAKES_DATA = ("curate",)

Location = tuple[str | int, ...]


class RecipeError(errors.UserError):
    """A recipe that cannot be read as written. One line for every mistake."""


def bundled_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with the package."""
    folder = INSTALLED if INSTALLED.is_dir() else CHECKOUT
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe. `overrides` are `key.path=value`, values in TOML or bare words.

    Raises RecipeError with one line for every mistake found.
    """
    path = _find(name_or_path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path.name}: not UTF-8 text ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path.name}: not valid TOML: {error}") from None
    overridden = [_override(data, text) for text in overrides]

    def told(mistakes: Sequence[tuple[Location, str]]) -> str:
        """One line for every mistake, where it was written; one in the defaults shows in many stages."""
        written = dict.fromkeys((_written_at(data, at), text) for at, text in mistakes)
        return "\n".join(
            f"{'--set' if any(at[: len(key)] == key for key in overridden) else path.name}: {_dotted(at)}: {text}"
            for at, text in written
        )

    try:
        recipe = Recipe.model_validate(_with_defaults(data)).found_in(_folder(path))
    except ValidationError as error:
        raise RecipeError(told([_explain(data, item) for item in error.errors(include_url=False)])) from None
    except RecipeError as error:
        raise RecipeError(f"{path.name}: {error}") from None
    mistakes = cross_checks(recipe)
    if mistakes:
        raise RecipeError(told(mistakes))
    return recipe


def dump_toml(recipe: Recipe) -> str:
    """The recipe as resolved, every default written out. `load_recipe` reads it back to an equal recipe."""
    import tomli_w

    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    bundled = bundled_recipes()
    if name_or_path in bundled:
        return bundled[name_or_path]
    close = errors.nearest(path.name.removesuffix(".toml"), bundled)
    hint = f"did you mean {close}? " if close else ""
    raise RecipeError(
        f"{name_or_path}: no such recipe, neither a file nor a bundled name; {hint}bundled: {', '.join(bundled)}"
    )


# -- defaults -----------------------------------------------------------------------------------------------------


def _with_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """Every stage with the keys of [defaults.KIND] that it does not set itself; a key is taken whole or not at all."""
    defaults, stages = data.get("defaults", {}), data.get("stage")
    if not isinstance(defaults, dict) or not all(isinstance(table, dict) for table in defaults.values()):
        raise RecipeError("defaults holds one table for each kind of stage, such as [defaults.rl]")
    for kind in defaults:
        if kind not in KINDS:
            raise RecipeError(f"defaults.{kind}: {_unknown(kind, KINDS, noun='unknown kind of stage')}")
    rest = {key: value for key, value in data.items() if key != "defaults"}
    if not isinstance(stages, dict):
        return rest
    filled = {
        name: {**defaults.get(str(stage.get("kind")), {}), **stage} if isinstance(stage, dict) else stage
        for name, stage in stages.items()
    }
    return {**rest, "stage": filled}


def _written_at(data: Mapping[str, Any], at: Location) -> Location:
    """Where a stage's key stands in the file: with the stage, or in its kind's defaults."""
    stage = data["stage"].get(at[1], {}) if len(at) > 2 and at[0] == "stage" else None
    if not isinstance(stage, dict) or at[2] in stage:
        return at
    kind = str(stage.get("kind"))
    return ("defaults", kind, *at[2:]) if at[2] in data.get("defaults", {}).get(kind, {}) else at


def _folder(path: Path) -> Path:
    """Where a recipe's own rewards lie: beside it; for one that a run has resolved, beside the one it was."""
    lineage = path.parent / "lineage.json"
    folder = files.read_json(lineage).get("folder") if lineage.is_file() else None
    return Path(folder) if folder else path.parent.resolve()


# -- overrides ----------------------------------------------------------------------------------------------------


def _override(data: dict[str, Any], text: str) -> Location:
    """Set one key of the raw recipe; returns its path."""
    key, equals, value = text.partition("=")
    try:
        nested = tomllib.loads(f"{key} = 0") if equals else {}
    except tomllib.TOMLDecodeError:
        nested = {}
    path: list[str] = []
    while isinstance(nested, dict) and len(nested) == 1:
        [(part, nested)] = nested.items()
        path.append(part)
    if not path or nested != 0:
        raise RecipeError(f"--set {text}: write it as key.path=value, e.g. --set stage.zero.steps=10")
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


def _value(text: str, value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        if value[:1] in tuple("[{\"'") or not value:
            example = """--set 'stage.zero.prompts=["world:arithmetic"]'"""
            raise RecipeError(f"--set {text}: the value is not valid TOML ({error}); e.g. {example}") from None
        return value


# -- pydantic's errors, told to people ----------------------------------------------------------------------------


def _dotted(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _explain(data: dict[str, Any], error: Mapping[str, Any]) -> tuple[Location, str]:
    """One pydantic error -> the key's path as written in the file, and what to do about it."""
    location: Location = error["loc"]
    kind = error["type"]
    if len(location) > 2 and location[0] == "stage" and location[2] in KINDS:
        model, rest = KINDS[str(location[2])], location[3:]
        location = location[:2] + rest  # pydantic puts the discriminator's value into the path
    else:
        model, rest = Recipe, location
    if kind == "extra_forbidden":
        return location, _unknown(str(location[-1]), _fields_at(model, rest))
    if kind == "union_tag_invalid":
        return (*location, "kind"), _unknown(error["ctx"]["tag"], KINDS, noun="unknown kind of stage")
    if kind == "union_tag_not_found":
        return location, f"kind is missing; allowed: {', '.join(KINDS)}"
    if kind == "missing":
        return location, "missing, and there is no default"
    if kind == "value_error":
        return location, error["msg"].removeprefix("Value error, ")
    if kind == "literal_error":
        return location, _unknown(str(error["input"]), _literals_at(model, rest), noun="unknown value")
    if location == ("name",) and kind == "string_pattern_mismatch":
        return location, f"{error['input']!r} given; lower-case letters, digits, dot, dash and underscore are allowed"
    given = json.dumps(error["input"], default=str, ensure_ascii=False)
    given = given if len(given) <= 60 else given[:57] + "..."
    return location, f"{given} given; {error['msg'][0].lower()}{error['msg'][1:]}"


def _unknown(given: str, allowed: Sequence[str] | Mapping[str, Any], noun: str = "unknown key") -> str:
    close = errors.nearest(given, allowed)
    shown = "" if noun == "unknown key" else f"{given!r}: "
    hint = f"did you mean {close}?" if close else f"allowed: {', '.join(allowed) or 'none'}"
    return f"{shown}{noun}; {hint}"


def _annotation_at(model: type[BaseModel], path: Location) -> Any:
    """The declared type at a key path, `X | None` read as X."""
    annotation: Any = model
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(part)].annotation
        elif get_origin(annotation) in (dict, list):
            annotation = get_args(annotation)[-1]
        if type(None) in get_args(annotation):
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation


def _fields_at(model: type[BaseModel], path: Location) -> list[str]:
    return list(_annotation_at(model, path[:-1]).model_fields)


def _literals_at(model: type[BaseModel], path: Location) -> list[str]:
    annotation = _annotation_at(model, path)
    return [str(value) for value in get_args(annotation)] if get_origin(annotation) is Literal else []


# -- what one stage says about another ----------------------------------------------------------------------------


def cross_checks(recipe: Recipe) -> list[tuple[Location, str]]:
    """Mistakes no single key shows: (key path, what to do about it)."""
    mistakes: list[tuple[Location, str]] = []
    earlier: dict[str, str] = {}
    for name, stage in recipe.stage.items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            text = "a stage's name becomes a directory: lower-case letters, digits, - and _ are allowed"
            mistakes.append((("stage", name), text))
        reference = getattr(stage, "model", None)
        if reference is not None and (mistake := _model_mistake(reference, earlier, list(recipe.stage))) is not None:
            mistakes.append((("stage", name, "model"), mistake))
        for i, source in enumerate(getattr(stage, "data", ())):
            if (mistake := _data_mistake(source, earlier, list(recipe.stage))) is not None:
                mistakes.append((("stage", name, "data", i), mistake))
        if isinstance(stage, RL):
            mistakes += [(("stage", name, *at), text) for at, text in _reward_mistakes(stage, earlier, recipe.folder)]
            for given in set(stage.watchdogs) - set(WATCHDOGS):
                mistake = _unknown(given, list(WATCHDOGS), noun="no such watchdog")
                mistakes.append((("stage", name, "watchdogs", given), mistake))
        for key, source in sources(stage):
            if (mistake := _world_mistake(source)) is not None:
                mistakes.append((("stage", name, *key), mistake))
        earlier[name] = stage.kind
    return mistakes


def _reward_mistakes(stage: RL, earlier: Mapping[str, str], folder: Path | None) -> list[tuple[Location, str]]:
    from r1kit.rewards.score import check_reward_names

    mistakes: list[tuple[Location, str]] = []
    groups: list[tuple[Location, Mapping[str, float]]] = [(("rewards",), stage.rewards)]
    groups += [(("general", i, "rewards"), general.rewards) for i, general in enumerate(stage.general)]
    for at, rewards in groups:
        models = {name for name in rewards if earlier.get(name) == "preference"}
        if models and at == ("rewards",):
            mistakes.append((at, f"{', '.join(models)}: a reward model is for prompts under general (paper eq. 9)"))
        try:
            check_reward_names({name: weight for name, weight in rewards.items() if name not in models}, folder)
        except ValueError as error:
            mistakes.append((at, str(error)))
    return mistakes


def models_of(stage: BaseModel, stages: Container[str]) -> list[str]:
    """Every model that a stage reads: the one it starts from, and reward models among `stages`."""
    found = [] if stage.model is None else [stage.model]
    return found + [name for general in getattr(stage, "general", ()) for name in general.rewards if name in stages]


def sources(stage: BaseModel) -> list[tuple[Location, PromptSource]]:
    """Every prompt source of a stage with its key path."""
    found: list[tuple[Location, PromptSource]] = []
    found += [(("prompts", i), source) for i, source in enumerate(getattr(stage, "prompts", ()))]
    for i, general in enumerate(getattr(stage, "general", ())):
        found += [(("general", i, "prompts", j), source) for j, source in enumerate(general.prompts)]
    for name, group in getattr(stage, "benchmarks", {}).items():
        found += [(("benchmarks", name, i), source) for i, source in enumerate(group)]
    return found


def _world_mistake(source: PromptSource) -> str | None:
    from r1kit.data.worlds import DEFAULT_LIMIT, WORLDS

    kind, _, world = source.source.partition(":")
    if kind != "world":
        return None
    if world not in WORLDS:
        return _unknown(world, WORLDS, noun="no such world")
    if source.split not in DEFAULT_LIMIT:
        return _unknown(source.split, DEFAULT_LIMIT, noun="no such split of a world")
    return None


def _data_mistake(source: str, earlier: Mapping[str, str], stages: Sequence[str]) -> str | None:
    from r1kit.data.store import READERS
    from r1kit.data.worlds.general import WORLDS

    kind, _, world = source.partition(":")
    if kind == "world":
        return None if world in WORLDS else _unknown(world, WORLDS, noun="no world that has records")
    if source in earlier:
        return (
            None
            if earlier[source] in MAKES_DATA
            else (f"{source} is a stage of kind {earlier[source]}, which makes no records")
        )
    if source in stages:
        return f"stage {source} does not come earlier; stages run as written"
    if Path(source).suffix in READERS or is_hub_id(kind):
        return None
    known = [name for name, kind in earlier.items() if kind in MAKES_DATA]
    return _unknown(source, known, noun=f"no earlier stage, file ({', '.join(READERS)}) or dataset (org/name)")


def _model_mistake(reference: str, earlier: Mapping[str, str], stages: Sequence[str]) -> str | None:
    if reference in earlier:
        kind = earlier[reference]
        return None if kind in MAKES_MODEL else f"{reference} is a stage of kind {kind}, which makes no model"
    if reference in stages:
        return f"stage {reference} does not come earlier; stages run as written (a directory is ./{reference})"
    try:
        if local_model(reference) is not None:
            return None
    except errors.UserError as error:
        return str(error)
    if is_hub_id(reference):
        return None
    known = [name for name, kind in earlier.items() if kind in MAKES_MODEL] + bundled_models()
    return _unknown(reference, known, noun="no such model, directory or hub id (org/name)")
