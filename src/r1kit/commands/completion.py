"""What the shell offers for an argument: names of recipes, stages and benchmarks, without importing what reads them."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from r1kit.bundled import bundled_claims, bundled_recipes
from r1kit.run_dir import RunDir

TASKS = Path(__file__).parents[1] / "evals" / "tasks"


def recipes(incomplete: str) -> list[str]:
    """Return the bundled recipes and the recipes here that begin so."""
    files = [str(path) for path in sorted(Path().glob(f"{incomplete}*.toml"))]
    return _beginning(incomplete, [*bundled_recipes(), *files])


def claims(incomplete: str) -> list[str]:
    """Return the paper's claims that begin so."""
    return _beginning(incomplete, [*bundled_claims()])


def stages(incomplete: str) -> list[str]:
    """Return the stages of the recipe or the run that the command line names."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")  # of bash, or of other shells
    return _beginning(incomplete, stages_named_in(line.split()))


def stages_named_in(words: list[str]) -> list[str]:
    """Return the stages of the first word that is a recipe or a run."""
    for word in words[2:]:  # after `r1kit COMMAND`
        path = Path(bundled_recipes().get(word, word))
        if found := _stages(RunDir(path).recipe if path.is_dir() else path):
            return list(found)
    return []


def benchmarks(incomplete: str) -> list[str]:
    """Return the public benchmarks that begin so. In a list such as aime24,math500 the last one is completed."""
    before, comma, last = incomplete.rpartition(",")
    names = sorted(path.stem for path in TASKS.glob("*/[!_]*.py"))
    return [f"{before}{comma}{name}" for name in _beginning(last, names)]


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _stages(path: Path) -> dict[str, Any]:
    """Return the stages of a recipe, with those of the recipe that it extends; none if it cannot be read."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    base = data.get("extends")
    inherited = _stages(bundled_recipes().get(base, path.parent / base)) if isinstance(base, str) else {}
    return {**inherited, **data.get("stage", {})}
