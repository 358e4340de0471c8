"""Recipes: TOML files that are read, overridden, checked and written."""

from r1kit.bundled import bundled_recipes
from r1kit.recipe.checks import cross_checks
from r1kit.recipe.errors import Mistake, RecipeError
from r1kit.recipe.inputs import unusable_inputs
from r1kit.recipe.load import dump_toml, load_recipe, recipe_from

__all__ = [
    "Mistake",
    "RecipeError",
    "bundled_recipes",
    "cross_checks",
    "dump_toml",
    "load_recipe",
    "recipe_from",
    "unusable_inputs",
]
