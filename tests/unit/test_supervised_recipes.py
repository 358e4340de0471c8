"""Recipes with sft and preference stages: where their records come from, and what they will take."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1kit import plan
from r1kit.model.known_shapes import KNOWN_SHAPES
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


def test_the_defaults_are_the_papers(recipe: Path) -> None:
    sft, helpful = load_recipe(str(recipe)).stage.values()
    assert (sft.epochs, sft.learning_rate, sft.lr_scheduler_type, sft.min_lr_ratio) == (2, 5e-5, "cosine", 0.1)
    assert (sft.context_length, sft.sequences_per_step) == (32_768, 128)
    assert (helpful.epochs, helpful.learning_rate, helpful.context_length) == (1, 6e-6, 8192)
    assert (helpful.sequences_per_step, helpful.objective, helpful.scores) == (256, "pairwise", "summary")


def test_the_plan_counts_memory_as_it_is_trained(recipe: Path) -> None:
    found = plan.plan(load_recipe(str(recipe)))
    assert found.warnings == () and "2 epochs, 128 records a step" in plan.render(found)
    shape = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"]
    assert shape.should_recompute(32_768, 2) and not shape.should_recompute(4096, 2)
    kept = shape.activation_bytes(32_768, 2)
    assert found.stages[0].memory["activations"] == 28 * 32_768 * 1536 * 2 + kept // 28 < kept / 8
    short = plan.plan(load_recipe(str(recipe), ["stage.dev.context_length=4096"]))  # rows hold 8,192 all the same
    assert short.stages[0].memory["activations"] == shape.activation_bytes(8192, 2)


def test_what_follows_reaches_as_far_as_it_was_trained(recipe: Path) -> None:
    tail = '[stage.after]\nkind = "evaluate"\nmodel = "dev"\nbenchmarks = { a = ["world:arithmetic"] }\n'
    recipe.write_text(recipe.read_text().replace("Qwen2.5-1.5B", "Qwen2.5-Math-1.5B") + tail)
    assert plan.plan(load_recipe(str(recipe))).warnings == ()  # the base alone knows 4,096 positions


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        ("dev", "stage.helpful.data[0]: dev is a stage of kind sft, which makes no records"),
        ("helpful", "stage.helpful.data[0]: stage helpful does not come earlier"),
        ("pairs", "stage.helpful.data[0]: 'pairs': no earlier stage, file (.jsonl, .json, .parquet) or dataset"),
    ],
)
def test_data_from_nowhere_is_a_mistake(recipe: Path, data: str, mistake: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(recipe), [f'stage.helpful.data=["{data}"]'])
    assert mistake in str(caught.value)


def test_a_reward_model_is_no_policy(recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + '[stage.next]\nkind = "sft"\nmodel = "helpful"\ndata = ["a/b"]\n')
    with pytest.raises(RecipeError, match="helpful is a stage of kind preference, which makes no model"):
        load_recipe(str(recipe))


def test_an_absent_file_is_warned_of_and_a_changed_one_is_another_stage(recipe: Path) -> None:
    steps = resolve_stages(load_recipe(str(recipe)), "float32")
    records = recipe.with_name("records.jsonl")
    assert set(steps[0].parents) == {"Qwen/Qwen2.5-1.5B", str(records), "org/name:all"}
    assert steps[0].parents["org/name:all"] == "hub:org/name:all"
    records.write_text('{"prompt": "a", "response": "c"}\n')
    changed = resolve_stages(load_recipe(str(recipe)), "float32")
    assert all(a.identity != b.identity for a, b in zip(steps, changed, strict=True))
    records.unlink()
    (warning,) = plan.plan(load_recipe(str(recipe))).warnings
    assert warning == f"stage.dev: {records}: no such file"
