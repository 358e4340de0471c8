"""A changed recipe or file is described in the words of the recipe: no hashes, no keys that nobody wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from r1kit.config import Recipe
from r1kit.errors import UserError
from r1kit.recipe import load_recipe
from r1kit.run import pipeline, preview


def refusal(*overrides: str, run_with: str = "tiny.toml") -> list[str]:
    """Return the listed differences between the run and a recipe."""
    with pytest.raises(UserError) as caught:
        pipeline.run(load_recipe(run_with, overrides), "run")
    message = str(caught.value)
    assert re.search(r"[0-9a-f]{16}", message) is None, "a hash"
    with pytest.raises(UserError) as previewed:
        preview.preview(load_recipe(run_with, overrides), Path("run"))
    assert str(previewed.value) == message
    return [line.strip() for line in message.splitlines()[1:-1]]


def test_forgotten_override_of_a_default_is_named(recipe: Recipe) -> None:
    overrides = ["stage.zero.max_completion_length=64", "stage.more.num_generations=3"]
    pipeline.run(load_recipe("tiny.toml", overrides), "run")
    assert refusal("stage.more.num_generations=3") == [
        "stage.zero.max_completion_length: 64 before, default {0 = 32768, 8200 = 65536} now: was --set forgotten?"
    ]


def test_changed_file_is_named(recipe: Recipe) -> None:
    pipeline.run(recipe, "run")
    Path("problems.jsonl").write_text('{"question": "1", "answer": "1"}\n')
    assert refusal() == ["problems.jsonl has changed"]
    Path("problems.jsonl").unlink()
    assert refusal() == ["problems.jsonl no longer exists"]


def test_prompt_sources_are_shown_as_written(recipe: Recipe) -> None:
    pipeline.run(recipe, "run")
    changed = "stage.zero.prompts=['world:countdown', {source='world:arithmetic', limit=5}]"
    assert refusal(changed) == [
        'stage.zero.prompts: ["problems.jsonl"] before, '
        '["world:countdown", {"source": "world:arithmetic", "limit": 5}] now'
    ]


def test_seed_of_the_recipe_is_named_once_as_it_was_given(recipe: Recipe) -> None:
    pipeline.run(recipe, "run")
    assert refusal("seed=7") == ["seed: 0 before, 7 now"]
    assert refusal("stage.more.seed=7") == ["stage.more.seed: not set before, 7 now"]


def test_watchdogs_are_not_listed_beside_a_change(recipe: Recipe) -> None:
    pipeline.run(recipe, "run")
    assert refusal("stage.zero.watchdogs={never_ends='off'}", "stage.zero.steps=3") == [
        "stage.zero.steps: 12 before, 3 now"
    ]


def test_nested_keys_and_removed_rewards_are_named(recipe: Recipe) -> None:
    pipeline.run(load_recipe("tiny.toml", ["stage.zero.rewards={accuracy=1.0, format=0.5}"]), "run")
    assert refusal("stage.zero.rewards={accuracy=2.0}") == [
        "stage.zero.rewards.accuracy: 1.0 before, 2.0 now",
        "stage.zero.rewards.format: 0.5 before, not set now",
    ]


def test_dry_run_estimates_a_half_done_stage(recipe: Recipe) -> None:
    failing = load_recipe("tiny.toml", ["stage.zero.template=chat"])
    with pytest.raises(RuntimeError, match="after a checkpoint"):
        pipeline.run(failing, "run")
    stage = Path("run/stages/zero")
    (stage / "metrics.jsonl").write_text("".join(f'{{"step": {step}}}\n' for step in (1, 2, 3)))
    (stage / "timings.jsonl").write_text("".join(f'{{"step": {step}, "time/step": 10.0}}\n' for step in (1, 2, 3)))
    zero, more, _ = preview.preview(failing, Path("run"))
    assert (zero.action, zero.start, zero.seconds) == ("resume", "step_00000002", 100.0)
    assert more.seconds is None
    assert "resume from step_00000002, about 1:40" in preview.render(Path("run"), [zero])
