"""Recipes with sft and preference stages: sources of records, identities and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1kit import plan
from r1kit.plan.known_shapes import KNOWN_SHAPES
from r1kit.recipe import RecipeError, load_recipe
from r1kit.run.resolve import resolve_stages

RECIPE = """
name = "p"
[stage.dev]
kind = "sft"
model = "Qwen/Qwen2.5-1.5B"
data = ["{records}", "org/name:all"]
[stage.helpful]
kind = "preference"
model = "dev"
data = ["org/pairs"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "records.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    (tmp_path / "p.toml").write_text(RECIPE.format(records=tmp_path / "records.jsonl"))
    return tmp_path / "p.toml"


def test_defaults_are_the_papers(recipe: Path) -> None:
    sft, helpful = load_recipe(str(recipe)).stage.values()
    assert (sft.epochs, sft.learning_rate, sft.lr_scheduler_type, sft.min_lr_ratio) == (2, 5e-5, "cosine", 0.1)
    assert (sft.context_length, sft.sequences_per_step) == (32_768, 128)
    assert (helpful.epochs, helpful.learning_rate, helpful.context_length) == (1, 6e-6, 8192)
    assert (helpful.sequences_per_step, helpful.objective, helpful.scores) == (256, "pairwise", "summary")


def test_plan_estimates_memory_with_recomputed_activations(recipe: Path) -> None:
    planned = plan.make_plan(load_recipe(str(recipe), ["device=cuda"]))
    assert planned.warnings == () and "2 epochs, 128 records a step" in plan.render(planned)
    shape = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"]
    assert shape.should_recompute(32_768, 2) and not shape.should_recompute(4096, 2)
    kept = shape.activation_bytes(32_768, 2)
    inside = 2 * (2 * 1536 + 4 * 8960)  # bytes a token: gradients inside a block
    recomputed = 28 * 32_768 * 1536 * 2 + kept // 28
    assert planned.stages[0].memory["activations"] == recomputed + 32_768 * inside < kept / 8
    shorter = ["device=cuda", "stage.dev.context_length=4096"]  # rows still hold 8,192 tokens
    short = plan.make_plan(load_recipe(str(recipe), shorter))
    assert short.stages[0].memory["activations"] == shape.activation_bytes(8192, 2) + 8192 * inside


def test_later_stages_may_use_the_context_length_of_training(recipe: Path) -> None:
    tail = '[stage.after]\nkind = "evaluate"\nmodel = "dev"\nbenchmarks = { a = ["world:arithmetic"] }\n'
    recipe.write_text(recipe.read_text().replace("Qwen2.5-1.5B", "Qwen2.5-Math-1.5B") + tail)
    planned = plan.make_plan(load_recipe(str(recipe), ["device=cuda"]))
    assert planned.warnings == (), "although the base model has only 4,096 positions"


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        ("dev", 'stage.helpful.data[0] = "dev": dev is a stage of kind sft, which makes a model, not data'),
        ("helpful", 'stage.helpful.data[0] = "helpful": stage helpful does not come earlier'),
        (
            "pairs",
            'stage.helpful.data[0] = "pairs": unknown source (not an earlier stage, file (.jsonl, .json, '
            ".csv or .tsv (each also with .gz), or .parquet) or dataset org/name)",
        ),
        ("world:tallk", 'stage.helpful.data[0] = "world:tallk": unknown world of records; did you mean talk?'),
    ],
)
def test_unknown_sources_of_records(recipe: Path, data: str, mistake: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(recipe), [f'stage.helpful.data=["{data}"]'])
    assert mistake in str(caught.value)


def test_reward_model_is_not_a_policy(recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + '[stage.next]\nkind = "sft"\nmodel = "helpful"\ndata = ["a/b"]\n')
    with pytest.raises(RecipeError, match="of kind preference, which makes a reward model, not a model"):
        load_recipe(str(recipe))


def test_changed_file_changes_the_identities(recipe: Path) -> None:
    stages = resolve_stages(load_recipe(str(recipe)), "float32")
    records = recipe.with_name("records.jsonl")
    assert set(stages[0].parents) == {"Qwen/Qwen2.5-1.5B", str(records), "org/name:all"}
    assert stages[0].parents["org/name:all"] == "hub:org/name:all"
    records.write_text('{"prompt": "a", "response": "c"}\n')
    changed = resolve_stages(load_recipe(str(recipe)), "float32")
    assert all(a.identity != b.identity for a, b in zip(stages, changed, strict=True))
