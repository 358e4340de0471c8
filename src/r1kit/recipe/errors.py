"""Mistakes in a recipe, with the path of the key, the given value and the closest valid one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from r1kit import errors
from r1kit.config import STAGE_KINDS, Location, Recipe
from r1kit.synonyms import nearest, synonym_of

SHOWN = 60  # characters of a value


class RecipeError(errors.UserError):
    """A recipe with mistakes. The message has one line for each."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a recipe."""

    location: Location
    """Path of the key."""
    text: str
    """What is wrong and what is allowed."""
    given: str | None = None
    """The value as text; None if the value is not the point."""

    def __str__(self) -> str:
        value = "" if self.given is None else f" = {self.given}"
        return f"{_dotted(self.location)}{value}: {self.text}"


def quote(value: object) -> str:
    """Return a value as shown in messages: JSON, at most SHOWN characters."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """Return the message for an unknown name, with the closest allowed name or else all of them."""
    names = list(allowed)
    close = nearest(given, names)
    hint = f"did you mean {close}?" if close else names and f"allowed: {', '.join(names)}"
    return f"unknown {what}; {hint}" if hint else f"unknown {what}"


def explain(found: Sequence[ErrorDetails]) -> list[Mistake]:
    """Translate pydantic's errors. Errors of branches of a union that were not meant are left out."""
    return [_explain(error) for error in found if not _is_other_branch(error)]


def _is_other_branch(error: ErrorDetails) -> bool:
    """Whether a union of a literal and a table reports the branch that the value does not resemble."""
    branch = str(error["loc"][-1]) if error["loc"] else ""
    if isinstance(error["input"], dict):
        return branch.startswith("literal[")
    return error["type"] == "model_type" and branch == error["ctx"]["class_name"]


def _explain(error: ErrorDetails) -> Mistake:
    location, parent, annotation = _resolve(error["loc"])
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        return Mistake(location, _unknown_key(str(location[-1]), parent, given))
    if kind == "union_tag_invalid":
        tag = error["ctx"]["tag"]
        return Mistake((*location, "kind"), unknown("kind of stage", tag, STAGE_KINDS), quote(tag))
    if kind == "union_tag_not_found":
        return Mistake(location, f"kind is missing; allowed: {', '.join(STAGE_KINDS)}")
    if kind == "missing":
        return Mistake(location, "missing, and there is no default")
    if kind == "value_error":
        return Mistake(location, error["msg"].removeprefix("Value error, "))
    if kind == "literal_error":
        return Mistake(location, unknown("value", str(given), _literals(annotation)), quote(given))
    if location == ("name",) and kind == "string_pattern_mismatch":
        return Mistake(location, "must be lower-case letters, digits, dots, dashes and underscores", quote(given))
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return Mistake(location, "must be a table", quote(given))
    return Mistake(location, errors.requirement(error["msg"]), quote(given))


def _unknown_key(key: str, parent: Any, given: object) -> str:
    """Return the message for an unknown key of a table. It may belong to another table."""
    of_stages = dict.fromkeys(name for stage in STAGE_KINDS.values() for name in stage.model_fields)
    if parent is not Recipe:
        own = [kind for kind, stage in STAGE_KINDS.items() if stage is parent]
        others = [kind for kind, stage in STAGE_KINDS.items() if key in stage.model_fields]
        if own and others and key not in _fields(Recipe) and not synonym_of(key, list(_fields(parent))):
            return f"no key of {own[0]} stages, but of {', '.join(others)}: remove it"
        return _belongs_elsewhere(key, parent) or unknown("key", key, _fields(parent))
    if isinstance(given, dict) and "kind" in given:
        return f"a stage is written as [stage.{key}]"
    may_be_of_stages = key in of_stages or synonym_of(key, list(of_stages)) is not None
    if not may_be_of_stages and (elsewhere := _belongs_elsewhere(key, parent)) is not None:
        return elsewhere
    if key not in of_stages and (nearest(key, Recipe.model_fields) or not nearest(key, of_stages)):
        return unknown("key", key, Recipe.model_fields)
    name = key if key in of_stages else nearest(key, of_stages)
    return f"no key of the recipe; did you mean stage.NAME.{name} (in the file: {name} below [stage.NAME])?"


def _belongs_elsewhere(key: str, parent: Any) -> str | None:
    """Return the message for a key that other tables have, or a synonym of one; None if no other table has it.

    A synonym of a key of its own table is meant as that key.
    """
    own, tables = list(_fields(parent)), [*STAGE_KINDS.values(), *dict.fromkeys(_inner_tables(Recipe))]
    if synonym_of(key, own):
        return None
    known = dict.fromkeys(name for table in (Recipe, *tables) for name in _fields(table))
    name = key if key in known else None if nearest(key, own) else synonym_of(key, list(known))
    if name is None:
        return None
    places = ["the recipe, above the first [stage.NAME]"] if name in _fields(Recipe) else []
    if kinds := [kind for kind, stage in STAGE_KINDS.items() if name in _fields(stage)]:
        places.append(f"[stage.NAME] of kind {', '.join(kinds)}")
    holders = {
        field: None
        for table in (Recipe, *tables)
        for field, annotation in _fields(table).items()
        if any(name in _fields(inner) for inner in _tables(annotation) if inner not in STAGE_KINDS.values())
    }
    return f"unknown key here; {name} belongs to {', or to '.join([*places, *holders])}"


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the tables that a type names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _tables(argument)


def _inner_tables(table: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield the tables inside a table, and those inside them."""
    for annotation in _fields(table).values():
        for inner in _tables(annotation):
            yield inner
            yield from _inner_tables(inner)


def _resolve(path: Location) -> tuple[Location, Any, Any]:
    """Return an error's path as written in the file, the type of its table and the type of its value.

    Pydantic's paths also have the kind of a stage and the branch of a union, which are no keys.
    """
    location: list[str | int] = []
    parent: Any = None
    annotation: Any = Recipe
    for part in path:
        annotation = _strip(annotation)
        if get_origin(annotation) in (Union, UnionType):  # the part names a branch
            annotation = _branch(get_args(annotation), str(part))
            continue
        parent = annotation
        if get_origin(annotation) in (dict, list):
            annotation = get_args(annotation)[-1]
        else:
            annotation = _fields(annotation).get(str(part))
        location.append(part)
    return tuple(location), parent, _strip(annotation)


def _strip(annotation: Any) -> Any:
    """Remove `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    branches = [branch for branch in get_args(annotation) if branch is not type(None)]
    if get_origin(annotation) in (Union, UnionType) and len(branches) < len(get_args(annotation)):
        return reduce(or_, branches)
    return annotation


def _branch(branches: Sequence[Any], tag: str) -> Any:
    """Return the branch of a union that pydantic calls `tag`: a kind of stage, a class or a literal."""
    if tag in STAGE_KINDS:
        return STAGE_KINDS[tag]
    names = {getattr(branch, "__name__", "").lower(): branch for branch in branches}
    return names.get(tag.partition("[")[0].lower())


def _fields(model: Any) -> Mapping[str, Any]:
    """Return the keys of a table with their types; nothing for other types."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {}
    return {name: field.annotation for name, field in model.model_fields.items()}


def _literals(annotation: Any) -> list[str]:
    return [str(value) for value in get_args(annotation)] if get_origin(annotation) is Literal else []


def _dotted(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")
