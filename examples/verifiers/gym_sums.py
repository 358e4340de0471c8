"""Sums of Reasoning Gym, in the environment that the package verifiers publishes for its tasks."""

from __future__ import annotations

from verifiers.envs.integrations.reasoninggym_env import ReasoningGymEnv

TASK = {
    "name": "basic_arithmetic",
    "weight": 1.0,
    "config": {
        "min_terms": 5,
        "max_terms": 8,
        "max_digits": 1,
        "operators": ["+"],
        "allow_parentheses": False,
        "format_style": "natural",
    },
}


def load_environment() -> ReasoningGymEnv:
    """Return the published environment with tasks of this size, as `vf.load_environment` calls it."""
    return ReasoningGymEnv([TASK], num_train_examples=2000, num_eval_examples=200, system_prompt="")
