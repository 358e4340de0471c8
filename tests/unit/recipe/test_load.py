"""Recipes are read from TOML, completed with defaults and overrides, and written back."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from good_recipe import GOOD, mistakes
from hypothesis import given
from hypothesis import strategies as st

from r1kit.config import RL, Recipe
from r1kit.recipe import RecipeError, bundled_recipes, dump_toml, load_recipe


@pytest.mark.parametrize("name", bundled_recipes())
def test_bundled_recipes_load_and_survive_a_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    (tmp_path / "again.toml").write_text(dump_toml(recipe), encoding="utf-8")
    assert load_recipe(str(tmp_path / "again.toml")) == recipe


def test_source_may_be_a_string_and_length_limit_a_number(good: Path) -> None:
    zero = load_recipe(str(good)).stage["zero"]
    assert isinstance(zero, RL)
    assert [source.source for source in zero.prompts] == ["world:arithmetic", "world:countdown"]
    assert zero.max_completion_length == {0: 64} and zero.completion_cap(9) == 64


def test_override_values_are_toml_or_bare_words(good: Path) -> None:
    overrides = [
        "stage.zero.steps=7", "stage.zero.objective=dapo", "stage.zero.rewards={accuracy=1.0}", "seed = 3",
        "stage.zero.max_completion_length={0=10, 5=20}", "stage.zero.model=org/name-1.5B",
        'stage.zero.prompts=["world:countdown"]',
    ]  # fmt: skip
    recipe = load_recipe("good.toml", overrides)
    zero = recipe.stage["zero"]
    assert isinstance(zero, RL) and recipe.seed == 3
    assert (zero.steps, zero.objective, zero.rewards, zero.model) == (7, "dapo", {"accuracy": 1.0}, "org/name-1.5B")
    assert zero.completion_cap(4) == 10 and zero.completion_cap(5) == 20 and len(zero.prompts) == 1


def test_dapo_changes_the_defaults_of_other_keys(good: Path) -> None:
    zero = load_recipe("good.toml", ["stage.zero.objective=dapo"]).stage["zero"]
    assert (zero.epsilon_high, zero.dynamic_sampling, zero.beta) == (0.28, True, 0)
    assert load_recipe("good.toml", ["stage.zero.objective=dapo", "stage.zero.beta=0.1"]).stage["zero"].beta == 0.1


def test_recipe_has_an_optional_judge(good: Path) -> None:
    assert load_recipe("good.toml").judge is None
    judge = load_recipe("good.toml", ['judge={base_url="http://localhost:1/v1", model="m"}']).judge
    assert judge is not None and (judge.model, judge.api_key_env) == ("m", "OPENAI_API_KEY")
    assert "judge.base_url" in mistakes('judge={base_url="localhost", model="m"}')


def test_defaults_apply_to_keys_that_a_stage_does_not_set(good: Path) -> None:
    good.write_text(GOOD + "[defaults.rl]\nsteps = 7\nbeta = 0.5\n")
    stage = load_recipe("good.toml", ["defaults.rl.epsilon=0.3"]).stage["zero"]
    assert (stage.steps, stage.beta, stage.epsilon) == (20, 0.5, 0.3)


def test_mistakes_in_defaults_name_the_defaults(good: Path) -> None:
    good.write_text(GOOD + "[defaults.rl]\nsteps = 7\n")
    assert mistakes("defaults.rl.bta=1") == "--set: defaults.rl.bta: unknown key; did you mean beta?"
    assert "defaults.lr: unknown kind of stage" in mistakes("defaults.lr.steps=1")
    assert "one table for each kind" in mistakes("defaults=1")


def test_mistake_in_defaults_of_two_stages_is_reported_once(good: Path) -> None:
    second = '[stage.more]\nkind = "rl"\nmodel = "base"\nprompts = ["world:logic"]\n'
    good.write_text(GOOD + second + "[defaults.rl]\nbta = 1\n")
    assert mistakes() == "good.toml: defaults.rl.bta: unknown key; did you mean beta?"


def test_toml_errors_name_the_line(good: Path) -> None:
    good.write_text("name = 'x'\nseed == 1\n")
    assert "line 2" in mistakes()


def test_all_mistakes_are_reported_together(good: Path) -> None:
    assert len(mistakes("stage.zero.steps=0", "stage.zero.bta=1", "sed=1").splitlines()) == 3


def test_unknown_recipe_lists_the_bundled_recipes_and_the_closest(good: Path) -> None:
    message = mistakes(recipe="zero-qwen-1.5")
    assert "did you mean zero-qwen-1.5b?" in message and all(name in message for name in bundled_recipes())


def test_empty_file_and_directory_are_named(good: Path) -> None:
    good.write_text("# nothing\n")
    assert mistakes().startswith("good.toml: the file is empty: a recipe needs a name")
    assert "a directory, not a recipe: give a .toml file, such as " in mistakes(recipe=str(good.parent))


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_override_is_applied_or_rejected(tmp_path_factory: pytest.TempPathFactory, key: str, value: str) -> None:
    path = tmp_path_factory.getbasetemp() / "hypothesis.toml"
    path.write_text(GOOD)
    for text in (f"{key}={value}", f"stage.zero.{key}={value}", f"name={value}"):
        with contextlib.suppress(RecipeError):
            assert isinstance(load_recipe(str(path), [text]), Recipe)


def test_a_misspelt_file_is_named(good: Path) -> None:
    with pytest.raises(RecipeError, match=r"god\.toml: neither a file nor a bundled recipe; did you mean good\.toml\?"):
        load_recipe("god.toml")


def test_recipe_extends_another_key_by_key(good: Path) -> None:
    base = load_recipe(str(good))
    first, *_ = base.stage
    child = good.parent / "child.toml"
    child.write_text(f'extends = "{good.name}"\nname = "child"\n[stage.{first}]\nseed = 7\n')
    recipe = load_recipe(str(child))
    assert recipe.name == "child" and list(recipe.stage) == list(base.stage)
    assert recipe.stage[first].model_dump() == {**base.stage[first].model_dump(), "seed": 7}
    child.write_text(f'extends = "{child.name}"\nname = "child"\n')
    with pytest.raises(RecipeError, match=r"child.toml: extends = 'child.toml': a recipe cannot extend itself"):
        load_recipe(str(child))
    child.write_text('extends = "nobody"\n')
    with pytest.raises(RecipeError, match="nobody: neither a file nor a bundled recipe"):
        load_recipe(str(child))
