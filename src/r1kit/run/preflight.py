"""Refuse before the first stage what a later one could not do."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from r1kit.config import Recipe
from r1kit.plan import Plan, make_plan, show_bytes
from r1kit.recipe import RecipeError, unusable_inputs
from r1kit.recipe.environments import unknown_call_styles
from r1kit.recipe.services import missing_services
from r1kit.trackers.base import missing_packages


def preflight(recipe: Recipe, stages: Collection[str] | None = None, run_dir: Path = Path()) -> tuple[Plan, list[str]]:
    """Return the plan and what would make `run` refuse these stages, by default all, in this directory."""
    planned = make_plan(recipe)
    names = recipe.stage if stages is None else stages
    too_large = [text for name, text in planned.errors.items() if name in names]
    mistakes = unusable_inputs(recipe, names) + missing_services(recipe, names)
    mistakes = mistakes or unknown_call_styles(recipe, names)
    untracked = missing_packages(recipe.track) if names else []
    return planned, [*too_large, *_disk(planned, names, run_dir), *map(str, mistakes), *untracked]


def _disk(planned: Plan, names: Collection[str], run_dir: Path) -> list[str]:
    """Return whether checkpoints and models need more than what is free, less what these stages have written."""
    stages = [(stage.disk, run_dir / "stages" / stage.name) for stage in planned.stages if stage.name in names]
    needed = sum(max(0, disk - _size(directory)) for disk, directory in stages)
    there = next(path for path in (run_dir.absolute(), *run_dir.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed <= free:
        return []
    return [
        f"{run_dir.absolute()}: checkpoints and models need {show_bytes(needed)}, but {show_bytes(free)} are free on "
        "its disk: free some, give a --run-dir on another disk, or run fewer stages with --until"
    ]


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def require_ready(recipe: Recipe, stages: Collection[str], run_dir: Path) -> Plan:
    """Return the plan, or raise RecipeError with one line for every reason why the stages cannot run."""
    planned, reasons = preflight(recipe, stages, run_dir)
    if reasons:
        raise RecipeError("\n".join(reasons))
    return planned
