"""Imports point down, have no cycles, and load no heavy library before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from source_tree import PACKAGE, imports, modules, name_of, tree_of, where

# A module or package imports only from lower levels, so those of one level do not import each other.
LEVELS = {
    **dict.fromkeys(
        ("types", "errors", "synonyms", "hashing", "hub", "integers", "interrupt", "console", "run_dir", "bundled"), 0
    ),
    **dict.fromkeys(("config", "files", "machine", "metrics"), 1),
    **dict.fromkeys(("model", "data", "status"), 2),
    **dict.fromkeys(("rewards", "engine", "learn"), 3),
    "tools": 4,
    "environments": 5,
    "rollout": 6,
    "evals": 7,
    "stages": 8,
    **dict.fromkeys(("plan", "recipe", "report", "trackers", "web"), 9),  # reports and trackers read only files
    **dict.fromkeys(("run", "serve", "watch"), 10),
    "claim": 11,
    "commands": 12,
    "cli": 13,
    **dict.fromkeys(("__main__", "cli_reference"), 14),
}
# Modules, and packages with all their modules, that must be importable without HEAVY libraries.
LIGHT = [name for name, level in LEVELS.items() if level <= 1]
LIGHT += [
    "cli",
    "commands",
    "plan",
    "recipe",
    "run",
    "claim",
    "report",
    "web",
    "watch",
    "status",
    "trackers",
    "evals.measure",
    "model.reference",
    "model.families",
]
LIGHT += ["rewards.grade_file", "rewards.workers"]
HEAVY = ("torch", "transformers", "datasets")

MODULES = modules()
NAMES = {name_of(path) for path in MODULES}


def imported_units(tree: ast.Module) -> list[tuple[ast.AST, str]]:
    """The top-level modules and packages of r1kit that a file imports."""
    return [(node, unit) for node, name in imports(tree) if (unit := name.split(".")[0]) in LEVELS]


def test_every_module_has_a_level() -> None:
    assert {name.split(".")[0] for name in NAMES} - {"__init__"} == set(LEVELS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    unit = name_of(path).split(".")[0]
    if unit == "__init__":  # its public names are imported on first use
        return
    wrong = [
        f"{where(path, node)}: {unit} (level {LEVELS[unit]}) imports {other} (level {LEVELS[other]})"
        for node, other in imported_units(tree_of(path))
        if other != unit and LEVELS[other] >= LEVELS[unit]
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_have_no_import_cycles() -> None:
    graph = {}
    for path in MODULES:
        names = (name for _, name in imports(tree_of(path)))
        found = {name if name in NAMES else name.rpartition(".")[0] for name in names}
        graph[name_of(path)] = (found & NAMES) - {name_of(path)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def loaded(modules: Iterable[str], libraries: Iterable[str]) -> list[str]:
    """Which of these libraries a process has loaded after it has imported these modules of r1kit."""
    code = f"import sys, {', '.join(f'r1kit.{module}' for module in modules)}\n"
    code += f"print(*[name for name in {list(libraries)} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_import_nothing_heavy(name: str) -> None:
    inside = [module for module in sorted(NAMES) if module == name or module.startswith(f"{name}.")]
    assert loaded(inside, HEAVY) == []


def test_help_is_fast() -> None:
    assert loaded(["cli"], [*HEAVY, "pydantic", "numpy", "httpx", "jinja2", "matplotlib"]) == []


def test_recipes_are_read_without_verifiers() -> None:
    assert loaded(["recipe"], [*HEAVY, "numpy", "httpx", "r1kit.rewards"]) == []


def test_imports_are_recognized_in_every_form(tmp_path: Path) -> None:
    code = "def f():\n    from r1kit.stages.rl import run\n    from r1kit import cli\n    import r1kit.learn.loss\n"
    assert [unit for _, unit in imported_units(ast.parse(code))] == ["stages", "cli", "learn"]
    assert PACKAGE.name == "r1kit" and len(MODULES) > 100
