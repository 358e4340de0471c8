"""Recipes are read strictly, and every mistake is told with its place and the nearest right thing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.config import RL, Recipe
from r1kit.recipe import RecipeError, bundled_recipes, dump_toml, load_recipe

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


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(GOOD)
    return tmp_path / "good.toml"


def mistakes(*overrides: str, recipe: str = "good.toml") -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", bundled_recipes())
def test_bundled_recipes_are_good_and_survive_being_written_out(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    (tmp_path / "again.toml").write_text(dump_toml(recipe), encoding="utf-8")
    assert load_recipe(str(tmp_path / "again.toml")) == recipe


def test_a_source_may_be_a_string_and_a_cap_a_number(good: Path) -> None:
    zero = load_recipe(str(good)).stage["zero"]
    assert isinstance(zero, RL)
    assert [source.source for source in zero.prompts] == ["world:arithmetic", "world:countdown"]
    assert zero.max_completion_length == {0: 64} and zero.completion_cap(9) == 64


def test_overrides_are_toml_or_bare_words(good: Path) -> None:
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
    assert zero.epsilon_high == 0.28 and zero.beta == 0  # what DAPO means besides its loss
    assert load_recipe("good.toml", ["stage.zero.objective=dapo", "stage.zero.beta=0.1"]).stage["zero"].beta == 0.1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage.zero.learning_rat=1", "--set: stage.zero.learning_rat: unknown key; did you mean learning_rate?"),
        ("stage.base.architecture.hiden_size=1", "architecture.hiden_size: unknown key; did you mean hidden_size?"),
        ('stage.zero.prompts=[{source="world:arithmetic", spilt="x"}]', "[0].spilt: unknown key; did you mean split?"),
        ("stage.zero.zzz=1", "stage.zero.zzz: unknown key; allowed: temperature, "),
        ("sed=1", "--set: sed: unknown key; did you mean seed?"),
        ("stage.zero.objective=grop", "stage.zero.objective: 'grop': unknown value; did you mean grpo?"),
        ("stage.base.architecture.model_type=gpt", "model_type: 'gpt': unknown value; allowed: qwen2, qwen3, llama"),
        ("stage.zero.kind=rll", "stage.zero.kind: 'rll': unknown kind of stage; did you mean rl?"),
        ("stage.zero.steps=0", "stage.zero.steps: 0 given; input should be greater than 0"),
        ("stage.zero.steps=many", 'stage.zero.steps: "many" given; input should be a valid integer'),
        ("stage.zero.prompts=world:arithmetic", 'prompts: "world:arithmetic" given; input should be a valid list'),
        ("stage.zero.prompts=[world:arithmetic]", "is not valid TOML"),
        ('stage.zero.prompts=["world:arithmetc"]', "prompts[0]: 'arithmetc': no such world; did you mean arithmetic?"),
        ('stage.eval.benchmarks.x=[{source="world:logic", split="test"}]', "x[0]: 'test': no such split of a world"),
        ("stage.zero.rewards={acuracy=1}", "stage.zero.rewards: "),
        ("stage.zero.model=bsae", "model: 'bsae': no such model, directory or hub id (org/name); did you mean base?"),
        ("stage.base.steps.x=1", "steps is 10, not a table; set steps itself"),
        ("stage.zer.steps=1", "there is no stage zer; did you mean zero?"),
        ("stage.zero.max_completion_length={5=1}", "stage.zero: max_completion_length needs a value for step 0"),
        ("name=Bad Name", "name: 'Bad Name' given; lower-case"),
        ("stage.zero=5", "stage.zero: 5 given; input should be a valid dictionary"),
        ("stage=5", "stage: 5 given; input should be a valid dictionary"),
        ("seed", "write it as key.path=value"),
        ("=1", "write it as key.path=value"),
    ],
)  # fmt: skip
def test_mistakes_name_the_key_and_the_nearest_right_one(good: Path, override: str, message: str) -> None:
    assert message in mistakes(override)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[stage.zero]", "[stage.zero", "good.toml: not valid TOML: "),
        ("steps = 20", "steps = 20\nstep = 3", "good.toml: stage.zero.step: unknown key; did you mean steps?"),
        ('kind = "rl"', "", "good.toml: stage.zero: kind is missing; allowed: pretrain, sft, "),
        ("vocab_size = 300\n", "", "good.toml: stage.base: give a model to go on from"),
        ('model = "base"', 'model = "eval"', "stage eval does not come earlier"),
        ('model = "base"', 'model = "zero"', "stage zero does not come earlier; stages run as written (a directory"),
        ('model = "zero"', 'model = "."', "stage.eval.model: .: this directory has no config.json"),
        ("[stage.zero]", '[stage."../zero"]', "stage.../zero: a stage's name becomes a directory"),
        ('name = "good"', "", "good.toml: name: missing"),
    ],
)  # fmt: skip
def test_mistakes_in_a_file_name_the_file(good: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    good.write_text(GOOD.replace(old, new))
    assert message in mistakes()


def test_an_evaluate_stage_makes_no_model(good: Path) -> None:
    good.write_text(GOOD + '[stage.last]\nkind = "evaluate"\nmodel = "eval"\nbenchmarks = { x = ["world:logic"] }\n')
    assert "stage.last.model: eval is a stage of kind evaluate, which makes no model" in mistakes()


def test_defaults_of_a_kind_hold_where_its_stages_say_nothing(good: Path) -> None:
    good.write_text(GOOD + "[defaults.rl]\nsteps = 7\nbeta = 0.5\n")
    stage = load_recipe("good.toml", ["defaults.rl.epsilon=0.3"]).stage["zero"]
    assert (stage.steps, stage.beta, stage.epsilon) == (20, 0.5, 0.3)
    assert mistakes("defaults.rl.bta=1") == "--set: defaults.rl.bta: unknown key; did you mean beta?"
    good.write_text(
        GOOD + '[stage.more]\nkind = "rl"\nmodel = "base"\nprompts = ["world:logic"]\n[defaults.rl]\nbta = 1\n'
    )
    assert mistakes() == "good.toml: defaults.rl.bta: unknown key; did you mean beta?", (
        "once, though two stages have it"
    )
    assert "defaults.lr: 'lr': unknown kind of stage" in mistakes("defaults.lr.steps=1")
    assert "one table for each kind" in mistakes("defaults=1")


def test_toml_errors_name_the_line(good: Path) -> None:
    good.write_text("name = 'x'\nseed == 1\n")
    assert "line 2" in mistakes()


def test_all_mistakes_are_told_at_once(good: Path) -> None:
    assert len(mistakes("stage.zero.steps=0", "stage.zero.bta=1", "sed=1").splitlines()) == 3


def test_an_unknown_recipe_lists_the_bundled_ones_and_the_nearest(good: Path) -> None:
    message = mistakes(recipe="zero-qwen-1.5")
    assert "did you mean zero-qwen-1.5b?" in message and all(name in message for name in bundled_recipes())


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_override_is_applied_or_refused_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "hypothesis.toml"
    path.write_text(GOOD)
    for text in (f"{key}={value}", f"stage.zero.{key}={value}", f"name={value}"):
        try:
            assert isinstance(load_recipe(str(path), [text]), Recipe)
        except RecipeError as error:
            assert str(error)
