"""A small recipe without mistakes, to change one key at a time."""

from __future__ import annotations

import pytest

from r1kit.recipe import RecipeError, load_recipe

GOOD = """
name = "good"
[stage.base]
kind = "pretrain"
vocab_size = 300
steps = 10
sequences_per_step = 4
[stage.base.architecture]
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1
[stage.zero]
kind = "rl"
model = "base"
prompts = ["world:arithmetic", { source = "world:countdown", max_level = 2 }]
max_completion_length = 64
steps = 20
[stage.eval]
kind = "evaluate"
model = "zero"
benchmarks = { sums = [{ source = "world:arithmetic", split = "held_out" }] }
"""


def mistakes(*overrides: str, recipe: str = "good.toml") -> str:
    """Load a recipe with mistakes and return the message."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, overrides)
    return str(caught.value)
