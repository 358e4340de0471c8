"""Files, functions, folders and the number of keys in a recipe stay small."""

from __future__ import annotations

import ast
import typing
from collections import Counter
from pathlib import Path
from statistics import median

import pytest
from pydantic import BaseModel
from source_tree import modules, name_of, tree_of, where

from r1kit.config import Recipe

FILE_LINES, MEDIAN_FILE_LINES, FUNCTION_LINES, FOLDER_MODULES, KNOBS = 350, 120, 60, 16, 125
MODULES = modules()


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    assert line_count(path) <= FILE_LINES
    functions = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    sizes = {f"{where(path, node)}: {node.name}": node.end_lineno - node.lineno + 1 for node in functions}
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES} == {}


def test_median_file_is_short() -> None:
    assert median(map(line_count, MODULES)) <= MEDIAN_FILE_LINES


def test_folders_have_few_modules() -> None:
    sizes = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {str(folder): size for folder, size in sizes.items() if size > FOLDER_MODULES} == {}


def config_models(annotation: object) -> set[type[BaseModel]]:
    """Every table that a recipe may contain."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inner = (field.annotation for field in annotation.model_fields.values())
        return {annotation}.union(*map(config_models, inner))
    return set().union(*map(config_models, typing.get_args(annotation)))


def test_recipes_have_few_keys() -> None:
    """Keys that several kinds of stage inherit count once."""
    knobs = {
        f"{model.__name__}.{name}"
        for table in config_models(Recipe)
        for model in table.__mro__
        for name in getattr(model, "__annotations__", {}).keys() & table.model_fields.keys()
        if name != "kind" and not config_models(table.model_fields[name].annotation)
    }
    assert 50 < len(knobs) <= KNOBS, f"{len(knobs)} keys: remove one before adding one"
