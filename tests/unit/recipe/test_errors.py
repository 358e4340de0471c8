"""Mistakes name the file or option, the key, the given value and the closest valid one."""

from __future__ import annotations

from pathlib import Path

import pytest
from good_recipe import GOOD, mistakes

CURATE = '[stage.cold]\nkind = "curate"\nmodel = "base"\nprompts = ["world:logic"]\n'


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage.zero.learning_rat=1", "--set: stage.zero.learning_rat: unknown key; did you mean learning_rate?"),
        ("stage.base.architecture.hiden_size=1", "architecture.hiden_size: unknown key; did you mean hidden_size?"),
        ('stage.zero.prompts=[{source="world:arithmetic", spilt="x"}]', "[0].spilt: unknown key; did you mean split?"),
        ("zero.steps=1", "--set zero.steps=1: zero is no table of a recipe; did you mean stage.zero.steps?"),
        ("zro.steps=1", "did you mean stage.zero.steps?"),
        ("stages.zero.steps=1", "did you mean stage.zero.steps?"),
        ("rl.steps=1", "did you mean defaults.rl.steps?"),
        ("steps=1", "--set: steps: no key of the recipe; did you mean stage.NAME.steps (in the file: steps below"),
        ("lr=1", "--set: lr: no key of the recipe; did you mean stage.NAME.learning_rate"),
        ("stage.zero.kind=grpo", 'stage.zero.kind = "grpo": unknown kind of stage; did you mean rl?'),
        ("stage.base.lora_rank=8", "stage.base.lora_rank: no key of pretrain stages, but of rl, sft: remove it"),
        ("stage.zero.zzz=1", "stage.zero.zzz: unknown key; allowed: template, "),
        ("stage.zero.reward_timeout=5", "unknown key here; reward_timeout belongs to the recipe, above the first"),
        ("stage.zero.timeout=5", "timeout: unknown key here; reward_timeout belongs to the recipe"),
        ("stage.zero.judge={model='m'}", "belongs to the recipe, above the first [stage.NAME], or to [stage.NAME] of "
                                         "kind curate"),
        ("stage.zero.limit=5", "stage.zero.limit: unknown key here; limit belongs to prompts, or to benchmarks"),
        ("hidden_size=5", "--set: hidden_size: unknown key here; hidden_size belongs to architecture"),
        ("stage.zero.critic={steps=4}", "critic.steps: unknown key here; steps belongs to [stage.NAME] of kind pre"),
        ("stage.zero.samples=4", "stage.zero.samples: unknown key; did you mean num_generations?"),
        ("sed=1", "--set: sed: unknown key; did you mean seed?"),
        ("stage.zero.objective=grop", 'stage.zero.objective = "grop": unknown value; did you mean grpo?'),
        ("sandbox=wsam", 'sandbox = "wsam": unknown value; did you mean wasm?'),
        ("stage.zero.kind=rll", 'stage.zero.kind = "rll": unknown kind of stage; did you mean rl?'),
        ("stage.zero.steps=0", "stage.zero.steps = 0: must be greater than 0"),
        ("stage.zero.steps=true", "stage.zero: steps = true: must not be true or false"),
        ("stage.zero.max_completion_length=true", "max_completion_length = true: must not be true or false"),
        ("reward_workers=100000", "reward_workers = 100000: must be at most 1024"),
        ("stage.zero.steps=many", 'stage.zero.steps = "many": must be an integer'),
        ("stage.zero.prompts=[]", "stage.zero.prompts = []: must have at least 1 item"),
        ("stage.zero.prompts=world:arithmetic", 'prompts = "world:arithmetic": must be a list'),
        ("stage.zero.prompts=[world:arithmetic]", "is not valid TOML"),
        ("stage.base.steps.x=1", "steps is 10, not a table; set steps itself"),
        ("stage.zer.steps=1", "there is no stage zer; did you mean zero?"),
        ("stage.zero.max_completion_length={5=1}", "stage.zero: max_completion_length needs a value for step 0"),
        ("stage.zero.overlong_buffer=64", "overlong_buffer = 64: must be smaller than max_completion_length = 64"),
        ("stage.zero.temperature=0", "stage.zero: temperature = 0: must be above 0"),
        ("name=Bad Name", 'name = "Bad Name": must be lower-case letters'),
        ("stage.zero=5", "stage.zero = 5: must be a table"),
        ("stage=5", "stage = 5: must be a table"),
        ("stage.eval.benchmarks=5", "stage.eval.benchmarks = 5: must be a table"),
        ("seed", "write it as key.path=value"),
        ("=1", "write it as key.path=value"),
    ],
)  # fmt: skip
def test_override_mistakes(good: Path, override: str, message: str) -> None:
    assert message in mistakes(override)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[stage.zero]", "[stage.zero", "good.toml: not valid TOML: "),
        ("steps = 20", "steps = 20\nstep = 3", "good.toml: stage.zero.step: unknown key; did you mean steps?"),
        ("[stage.zero]", "[zero]", "good.toml: zero: a stage is written as [stage.zero]"),
        ('kind = "rl"', "", "good.toml: stage.zero: kind is missing; allowed: curate, evaluate, "),
        ("vocab_size = 300\n", "", "good.toml: stage.base: give either model"),
        ('name = "good"', "", "good.toml: name: missing"),
    ],
)
def test_mistakes_in_a_file_name_the_file(good: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    good.write_text(GOOD.replace(old, new))
    assert message in mistakes()


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ('{base_url="http://localhost/v1"}', "judge.model: missing, and there is no default"),
        (
            '{base_url="ftp://localhost", model="m"}',
            "judge.base_url = \"ftp://localhost\": must match pattern '^https?://'",
        ),
        ('{base_url="http://localhost/v1", model="m", modell="m"}', "judge.modell: unknown key; did you mean model?"),
        ('"oracle:sprouts"', 'judge = "oracle:sprouts": unknown value; did you mean oracle:sprout?'),
    ],
)
def test_paths_do_not_name_branches_of_a_union(good: Path, judge: str, message: str) -> None:
    good.write_text(GOOD + CURATE)
    assert mistakes(f"stage.cold.judge={judge}") == f"--set: stage.cold.{message}"


def test_long_values_are_shortened(good: Path) -> None:
    line = mistakes(f"stage.zero.steps={'a' * 200}")
    assert "..." in line and len(line) < 140
