"""Other names of keys, kinds, worlds and verifiers lead to ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from r1kit.config import STAGE_KINDS, Recipe
from r1kit.config.base import PromptSource, Service
from r1kit.config.pretrain import Architecture
from r1kit.data.worlds import DEFAULT_LIMIT, WORLDS
from r1kit.recipe import RecipeError, load_recipe
from r1kit.rewards.grade_file import KINDS, grade_line
from r1kit.rewards.score import ACCURACY, BUILT_IN
from r1kit.synonyms import SYNONYMS, nearest
from r1kit.types import TrackerName

RECIPE = 'name = "r"\n[stage.s]\nkind = "{kind}"\nmodel = "sprout-base"\n{keys}\n'
REQUIRED = {
    "rl": 'prompts = ["world:logic"]',
    "evaluate": 'benchmarks = { x = ["world:logic"] }',
    "curate": 'prompts = ["world:logic"]',
    "sft": 'data = ["world:talk"]',
}
TABLES = [Recipe, Architecture, PromptSource, Service, *STAGE_KINDS.values()]


@pytest.mark.parametrize(
    ("kind", "given", "ours"),
    [
        ("rl", "group_size", "num_generations"),
        ("rl", "G", "num_generations"),
        ("rl", "n_samples", "num_generations"),
        ("rl", "n_samples_per_prompt", "num_generations"),
        ("rl", "lr", "learning_rate"),
        ("rl", "batch_size", "prompts_per_step"),
        ("rl", "train_batch_size", "prompts_per_step"),
        ("rl", "max_tokens", "max_completion_length"),
        ("rl", "max_new_tokens", "max_completion_length"),
        ("rl", "max-response-length", "max_completion_length"),
        ("rl", "kl_coef", "beta"),
        ("rl", "kl_loss_coef", "beta"),
        ("rl", "clip_eps", "epsilon"),
        ("rl", "clip_ratio_high", "epsilon_high"),
        ("rl", "epochs", "steps"),
        ("rl", "max_steps", "steps"),
        ("rl", "reward_funcs", "rewards"),
        ("rl", "loss_type", "objective"),
        ("rl", "num_iterations", "steps_per_rollout"),
        ("rl", "save_freq", "save_every"),
        ("evaluate", "n_samples", "samples"),
        ("evaluate", "num_generations", "samples"),
        ("curate", "max_tokens", "max_completion_length"),
        ("sft", "batch_size", "sequences_per_step"),
        ("sft", "num_train_epochs", "epochs"),
        ("sft", "max_seq_length", "context_length"),
        ("sft", "train_files", "data"),
    ],
)
def test_key_of_another_library_leads_to_ours(tmp_path: Path, kind: str, given: str, ours: str) -> None:
    (tmp_path / "r.toml").write_text(RECIPE.format(kind=kind, keys=REQUIRED[kind]))
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tmp_path / "r.toml"), [f"stage.s.{given}=1"])
    assert f"stage.s.{given}: unknown key; did you mean {ours}?" in str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    ("given", "ours"), [("logic", "knights"), ("instructions", "ifeval"), ("maths", "math"), ("MCQ", "choice")]
)
def test_kind_of_graded_lines_leads_to_ours(given: str, ours: str) -> None:
    verdict = grade_line(json.dumps({"kind": given, "response": "x"}))
    assert verdict["reason"].startswith(f"unknown kind {given!r}: did you mean {ours}?")


def test_every_synonym_belongs_to_a_name_that_exists() -> None:
    names = {key for table in TABLES for key in table.model_fields} | set(STAGE_KINDS) | set(WORLDS) | set(KINDS)
    names |= {
        "defaults",
        "r1-zero",
        "chat",
        "none",
        "dr_grpo",
        ACCURACY,
        *BUILT_IN,
        *DEFAULT_LIMIT,
        *get_args(TrackerName),
    }
    assert set(SYNONYMS) <= names


def test_names_come_before_synonyms() -> None:
    assert nearest("Samples", ["num_generations", "samples"]) == "samples"
    assert nearest("samples", ["num_generations", "steps"]) == "num_generations"


def test_nearest_suggests_similar_names_only() -> None:
    assert nearest("lerning_rate", ["learning_rate", "steps"]) == "learning_rate"
    assert nearest("qqq", ["learning_rate", "steps"]) is None
