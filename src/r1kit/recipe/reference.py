"""The reference of all keys of a recipe, as Markdown.

Update the page with `python -m r1kit.recipe.reference > docs/recipe-reference.md`.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from r1kit.config import STAGE_KINDS, Recipe, StageConfig, Strict

INTRODUCTION = """\
# Recipe reference

For everyone who writes or changes a recipe. This page lists every key with its type, default and
range, and the value in the DeepSeek-R1 paper where it gives one. Change a key in the file or for one
run: `r1kit run RECIPE --set stage.zero.steps=10`.

A recipe is a TOML file. Each `[stage.NAME]` table is one stage, whose `kind` decides the other keys.
Stages run in the order they are written. The table `[defaults.KIND]` sets keys for all stages of a
kind; a stage that has the key itself ignores the default. `extends = "RECIPE"` takes everything
from a bundled recipe or another file; what the recipe writes itself replaces single keys of stages
and defaults, and new stages come last. `r1kit check RECIPE` shows what a recipe is about to do.

This page is generated from `src/r1kit/config/` by `python -m r1kit.recipe.reference`.
"""
SIMPLE: dict[Any, str] = {int: "integer", float: "number", str: "string", bool: "boolean"}


def render() -> str:
    """Return the reference as Markdown."""
    sections = [INTRODUCTION, *_section("Recipe", Recipe)]
    for kind, stage in STAGE_KINDS.items():
        sections += _section(f"Stages of kind `{kind}`", stage)
    for table in dict.fromkeys(nested_tables(Recipe)):
        sections += _section(table_name(table).capitalize(), table)
    return "\n".join(sections)


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings below the fields of a model, inherited ones included.

    pydantic's `use_attribute_docstrings` does the same, but adds 60 ms to every start.
    """
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, BaseModel) and owner is not BaseModel:
            found |= dict(_docstrings(owner))
    return {name: text for name, text in found.items() if name in model.model_fields}


def split_paper(text: str) -> tuple[str, str]:
    """Split a description into what it says and the value in the paper; "" if it gives none."""
    description, _, paper = text.partition(" Paper: ")
    return description, paper.removesuffix(".")


def _docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                yield name, " ".join(docstring.split())


def nested_tables(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the tables inside a type that are no stages, each before the tables inside it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if _is_table(annotation):
            yield annotation
        for field in annotation.model_fields.values():
            yield from nested_tables(field.annotation)
    for argument in get_args(annotation):
        yield from nested_tables(argument)


def _is_table(annotation: Any) -> bool:
    return (
        isinstance(annotation, type)
        and issubclass(annotation, Strict)
        and not issubclass(annotation, (Recipe, StageConfig))
    )


def table_name(table: type[BaseModel]) -> str:
    """Return the name of a class as words: `PromptSource` becomes "prompt source"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", table.__name__).lower()


def _section(title: str, model: type[BaseModel]) -> list[str]:
    lines = [f"## {title}", "", (model.__doc__ or "").partition("\n")[0], ""]
    lines += ["| key | type | default | range | paper | description |", "|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in rows(model)]
    return [*lines, ""]


def rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield key, type, default, range, value in the paper and description of every key of a table, as Markdown."""
    texts = descriptions(model)
    for name in sorted(model.model_fields, key=lambda name: _rank(model, name)):
        if name == "kind":
            continue
        field = model.model_fields[name]
        description, paper = split_paper(texts[name])
        yield f"`{name}`", _type(field.annotation), _default(field), _range(field), paper, description


def _rank(model: type[BaseModel], name: str) -> int:
    """Keys of all stages come first, then those of the kind, the optimizer and sampling."""
    if issubclass(model, StageConfig) and name in StageConfig.model_fields:
        return -1
    return max(i for i, owner in enumerate(model.__mro__) if name in inspect.get_annotations(owner))


def _type(annotation: Any, plural: bool = False) -> str:
    if annotation in SIMPLE:
        return SIMPLE[annotation] + "s" * plural
    if _is_table(annotation):
        name = table_name(annotation)
        shown = f"{name}s" if plural and not name.endswith("s") else name
        return f"[{shown}](#{name.replace(' ', '-')})"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type(branch) for branch in arguments if branch is not NoneType)
    if origin is list:
        return f"list{'s' * plural} of {_type(arguments[0], plural=True)}"
    if origin is dict:
        by = "" if arguments[0] is str else f" by {_type(arguments[0])}"
        return f"table of {_type(arguments[1], plural=True)}{by}"
    return "stages"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "" if field.default is None else f"`{_toml(field.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }" if value else "{}"
    return json.dumps(value).replace("e-0", "e-")


def _range(field: FieldInfo) -> str:
    texts = []
    for bound in field.metadata:
        match bound:
            case Gt(limit):
                texts.append(f"> {limit}")
            case Ge(limit):
                texts.append(f"≥ {limit}")
            case Lt(limit):
                texts.append(f"< {limit}")
            case Le(limit):
                texts.append(f"≤ {limit}")
            case MinLen():
                texts.append("not empty")
    return ", ".join(texts)


if __name__ == "__main__":
    print(render(), end="")
