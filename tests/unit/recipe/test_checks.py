"""Checks between stages, and against the models, worlds, rewards and watchdogs that exist."""

from __future__ import annotations

from pathlib import Path

import pytest
from good_recipe import GOOD, mistakes

from r1kit.model.families import FAMILIES
from r1kit.recipe import load_recipe

EVALUATE = '[stage.last]\nkind = "evaluate"\nmodel = "eval"\nbenchmarks = { x = ["world:logic"] }\n'


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage.base.architecture.model_type=gpt", 'model_type = "gpt": unknown value; allowed: qwen2, qwen3, llama'),
        (
            'stage.zero.prompts=["world:arithmetc"]',
            'prompts[0] = "world:arithmetc": unknown world; did you mean arithmetic?',
        ),
        (
            'stage.eval.benchmarks.x=[{source="world:logic", split="test"}]',
            'x[0].split = "test": unknown split of a world; did you mean held_out?',
        ),
        ("stage.zero.rewards={acuracy=1}", "stage.zero.rewards: "),
        (
            "stage.zero.rewards={environment=1}",
            "stage.zero.rewards: the reward environment needs the key environment",
        ),
        (
            "stage.zero.environment=calculater",
            'stage.zero.environment = "calculater": unknown environment \'calculater\': did you mean calculator?',
        ),
        (
            "stage.zero.environment=tools",
            'stage.zero.template = "r1-zero": the environment tools needs template = "chat", which shows conversations',
        ),
        ("stage.zero.environment=absent:tool", "environment absent:tool: No module named 'absent'"),
        (
            'stage.zero.prompts=[{source="world:logic", min_level=9}]',
            "stage.zero.prompts[0]: no level is between min_level = 9 and max_level = 99; the levels of world:logic",
        ),
        ('stage.zero.prompts=[{source="a.csv", min_level=3, max_level=2}]', "no level is between min_level = 3 and"),
        ("stage.base.corpus=sprout-wbe", 'corpus = "sprout-wbe": unknown corpus; did you mean sprout-web?'),
        ("stage.base.architecture.num_key_value_heads=3", "architecture: num_attention_heads = 2: must be a multiple"),
        ("stage.base.architecture.num_attention_heads=64", "architecture: hidden_size = 32: must be at least num_att"),
        ("stage.zero.rewards={}", "stage.zero.rewards = {}: must have at least one reward with a positive weight"),
        ("stage.zero.rewards={accuracy=-1, format=0}", "rewards = {\"accuracy\": -1.0, \"format\": 0.0}: must have"),
        ("stage.zero.rewards={accuracy=nan}", "stage.zero.rewards.accuracy = NaN: must be a finite number"),
        ("stage.zero.learning_rate=3", "stage.zero.learning_rate = 3.0: must be between 1e-09 and 1; the paper's are"),
        ("stage.base.learning_rate=1e-12", "stage.base.learning_rate = 1e-12: must be between 1e-09 and 1"),
        ("stage.zero.temperature=inf", "stage.zero.temperature = Infinity: must be a finite number"),
        ('stage.zero.prompts=["world:maths"]', 'prompts[0] = "world:maths": unknown world; did you mean arithmetic?'),
        ("stage.zero.model=bsae", 'model = "bsae": unknown model (not an earlier stage, directory or hub id org/name); '
                                  "did you mean base?"),
        ("stage.zero.best_metric=eval/loss", 'best_metric = "eval/loss": this stage evaluates nothing: set benchmarks, '
                                             "and eval_every of 1 to 20 (steps)"),
        ("stage.zero.gae_lamda=0.9", "unknown key; did you mean gae_lambda?"),
        ("stage.zero.value_model='x'", "unknown key; did you mean critic?"),
        ("stage.zero.load_best_model_at_end=true", "unknown key; did you mean best_metric?"),
        ("stage.zero.watchdogs={hi_kl='off'}", "stage.zero.watchdogs.hi_kl: unknown watchdog; did you mean high_kl?"),
    ],
)  # fmt: skip
def test_unknown_names(good: Path, override: str, message: str) -> None:
    assert message in mistakes(override)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('model = "base"', 'model = "eval"', "stage eval does not come earlier"),
        ('model = "base"', 'model = "zero"', "stage zero does not come earlier; stages run as written (a directory"),
        ('model = "zero"', 'model = "."', 'stage.eval.model = ".": .: this directory has no config.json'),
        ("[stage.zero]", '[stage."../zero"]', "stage.../zero: the name of a stage is also its directory"),
    ],
)
def test_names_and_order_of_stages(good: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    good.write_text(GOOD.replace(old, new))
    assert message in mistakes()


def test_evaluate_stage_makes_no_model(good: Path) -> None:
    good.write_text(GOOD + EVALUATE)
    assert 'stage.last.model = "eval": eval is a stage of kind evaluate, which makes results, not a model' in mistakes()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_model_family_can_be_pretrained(good: Path, family: str) -> None:
    assert load_recipe("good.toml", [f"stage.base.architecture.model_type={family}"])


def test_best_metric_is_one_that_is_measured(good: Path) -> None:
    measured = ("stage.zero.eval_every=5", "stage.zero.benchmarks.sums=['world:logic']", "stage.zero.eval_samples=2")
    text = mistakes(*measured, "stage.zero.best_metric=eval/sums/pas@1")
    assert 'best_metric = "eval/sums/pas@1": unknown metric; did you mean eval/sums/pass@1?' in text
    recipe = load_recipe("good.toml", [*measured, "stage.zero.best_metric=eval/sums/cons@2"])
    assert recipe.stage["zero"].best_metric == "eval/sums/cons@2"


def test_vllm_servers_sample_no_episodes(good: Path) -> None:
    vllm = 'engine=["http://localhost:8000"]'
    message = 'stage.zero.environment = "calculator": episodes need engine = "native"'
    assert message in mistakes("stage.zero.environment=calculator", vllm)
    assert load_recipe("good.toml", ["stage.zero.environment=calculator"]).stage["zero"].environment == "calculator"


def test_problems_of_an_environment_need_it(good: Path) -> None:
    message = 'stage.zero.prompts[0] = "verifiers:game": only that environment can score it: set environment'
    assert message in mistakes('stage.zero.prompts=["verifiers:game"]')


def test_a_critic_starts_from_a_reward_model(good: Path) -> None:
    judge = '[stage.judge]\nkind = "preference"\nmodel = "base"\ndata = ["pairs.jsonl"]\n'
    good.write_text(GOOD.replace("[stage.zero]", f"{judge}[stage.zero]"))
    ppo = "stage.zero.objective=ppo"
    assert load_recipe("good.toml", [ppo, "stage.zero.critic.model=judge"]).stage["zero"].critic.model == "judge"
    for model, message in (
        (
            "base",
            'stage.zero.critic.model = "base": base is a stage of kind pretrain, which makes a model, not a reward',
        ),
        ("judgd", "unknown reward model (not an earlier stage, directory or hub id org/name); did you mean judge?"),
        ("eval", "stage eval does not come earlier"),
    ):
        assert message in mistakes(ppo, f"stage.zero.critic.model={model}")
    assert "stage.zero.critic.learning_rate = 3.0: must be between" in mistakes(
        ppo, "stage.zero.critic.learning_rate=3"
    )
    assert "critic" in mistakes(ppo, "stage.zero.critic.gamma=0.9")
