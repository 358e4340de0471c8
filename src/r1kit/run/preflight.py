"""Refuse before the first stage what a later one could not do."""

from __future__ import annotations

from collections.abc import Collection

from r1kit.config import Recipe
from r1kit.recipe import RecipeError, unusable_inputs
from r1kit.recipe.plan import Plan, plan
from r1kit.recipe.services import missing_services


def preflight(recipe: Recipe, stages: Collection[str] | None = None) -> tuple[Plan, list[str]]:
    """Return the plan and what would make `run` refuse these stages; all stages by default."""
    planned = plan(recipe)
    names = recipe.stage if stages is None else stages
    too_large = [text for name, text in planned.errors.items() if name in names]
    mistakes = unusable_inputs(recipe, names) + missing_services(recipe, names)
    return planned, too_large + [str(mistake) for mistake in mistakes]


def require_ready(recipe: Recipe, stages: Collection[str]) -> Plan:
    """Return the plan, or raise RecipeError with one line for every reason why the stages cannot run."""
    planned, reasons = preflight(recipe, stages)
    if reasons:
        raise RecipeError("\n".join(reasons))
    return planned
