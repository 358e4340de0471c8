"""Keys of an rl stage that exclude each other, with the reasons."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from r1kit.config import RL, Curate, Evaluate
from r1kit.recipe import RecipeError, load_recipe

KEYS = {"kind": "rl", "model": "m", "prompts": ["p.jsonl"]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"top_p": 0.9}, "top_p = 0.9: must keep all tokens in rl .*complete distribution"),
        ({"top_k": 50}, "top_k = 50: must keep all tokens in rl"),
        ({"dual_clip": 1.0}, "greater than 1"),
        ({"importance_cap": 0.5}, "greater than 1"),
        ({"dual_clip": 3.0, "importance_cap": 2.0}, "dual_clip = 3: must be below importance_cap = 2"),
        ({"objective": "cispo", "importance_cap": 2.0}, "no effect with objective = .cispo."),
        ({"shard_weights": True, "offload": True}, "shard_weights = true and offload = true: use one"),
        ({"shard_weights": True, "lora_rank": 8}, "shard_weights = true and lora_rank = 8: use one"),
        ({"shard_weights": True, "adam_8bit": True}, "shard_weights = true and adam_8bit = true: use one"),
        ({"shard_weights": True, "rollouts_ahead": 1}, "shard_weights = true and rollouts_ahead = 1: use one"),
        ({"critic": {"learning_rate": 1e-5}}, "critic with objective = .grpo., which has no critic: remove it"),
        ({"objective": "dapo", "gae_lambda": 0.95}, "gae_lambda with objective = .dapo., which has no critic"),
        ({"objective": "ppo", "gae_lambda": 1.5}, "less than or equal to 1"),
        ({"objective": "ppo", "critic": {"gamma": 0.9}}, "Extra inputs are not permitted"),
        ({"objective": "ppo", "critic": 3}, "critic"),
        ({"objective": "ppo", "skip_zero_variance": True}, "skip_zero_variance = true with objective = .ppo."),
        ({"stop": [""]}, "must not contain an empty text"),
        ({"system_prompt": "Be brief."}, 'system_prompt with template = "r1-zero"'),
    ],
)
def test_refused_keys(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RL(**KEYS, **keys)


def test_check_refuses_truncated_sampling_in_rl_and_says_why(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'name = "r"\n[stage.zero]\nkind = "rl"\nmodel = "sprout-base"\nprompts = ["world:arithmetic"]\ntop_p = 0.95\n'
    )
    with pytest.raises(RecipeError, match=r"stage.zero: top_p = 0.95: must keep all tokens in rl"):
        load_recipe(str(recipe))


def test_evaluate_and_curate_may_truncate() -> None:
    assert Evaluate(kind="evaluate", model="m", benchmarks={"b": ["p.jsonl"]}, top_p=0.9, top_k=9).top_k == 9
    assert Curate(kind="curate", model="m", prompts=["p.jsonl"], top_p=0.9, stop=["</answer>"]).top_p == 0.9


def test_new_bounds_are_off_by_default() -> None:
    config = RL(**KEYS)
    assert (config.dual_clip, config.importance_cap, config.stop, config.partial_credit) == (None, None, [], False)
    assert RL(**KEYS, dual_clip=3.0, importance_cap=5.0).dual_clip == 3


def test_a_critic_has_the_optimizer_of_the_policy_unless_the_recipe_says() -> None:
    critic = RL(**KEYS, objective="ppo", learning_rate=1e-4, warmup_steps=7, critic={"learning_rate": 3e-4}).critic
    assert critic is not None
    assert (critic.learning_rate, critic.warmup_steps, critic.adam_beta2, critic.model) == (3e-4, 7, 0.999, None)
    assert RL(**KEYS, objective="ppo", learning_rate=1e-4).critic == critic.model_copy(
        update={"learning_rate": 1e-4, "warmup_steps": 0}
    )
    assert RL(**KEYS).critic is None


def test_a_resolved_config_is_read_back_unchanged() -> None:
    config = RL(**KEYS, objective="ppo", learning_rate=1e-4, critic={"model": "judge", "max_grad_norm": 0.5})
    assert RL(**config.model_dump()) == config
    assert config.models_read({}) == ["m", "judge"]
