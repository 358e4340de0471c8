"""The recipe sprout-r1: its values, the check without torch, and a run of all stages with few steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from r1kit.recipe import load_recipe

EASY = '[{source = "world:arithmetic", max_level = 1, limit = 48}]'
FEW = '{general = [{source = "world:talk", split = "held_out", limit = 3}]}'
SMALL: dict[str, dict[str, Any]] = {  # by kind of stage
    "evaluate": {"benchmarks": FEW, "samples": 2, "max_completion_length": 24},
    "rl": {"prompts": EASY, "steps": 2, "prompts_per_step": 4, "num_generations": 2, "max_completion_length": 40}
    | {"learning_rate": 1e-6, "save_every": 1},
    "pretrain": {"steps": 2, "sequences_per_step": 2, "context_length": 64},
    "sft": {"epochs": 1, "sequences_per_step": 8},
    "preference": {"sequences_per_step": 8},
    "curate": {"prompts": EASY, "max_completion_length": 64},
}
BY_NAME: dict[str, dict[str, Any]] = {
    "cold_data": {"samples": 8},
    "dev1": {"epochs": 12, "learning_rate": 2e-3},  # enough to sample the readable format
    "dev3": {"epochs": 6, "learning_rate": 2e-3},
    "helpful_pairs": {"prompts": '[{source = "world:talk", limit = 60}]', "max_completion_length": 40},
    "safety_labels": {"prompts": '[{source = "world:safety", limit = 10}]', "max_completion_length": 40},
    "r1": {"general_steps": 1, "log_rollouts_every": 1},
}


def overrides() -> list[str]:
    texts = []
    for name, stage in load_recipe("sprout-r1").stage.items():
        keys = SMALL[stage.kind] | BY_NAME.get(name, {})
        texts += [f"stage.{name}.{key}={value}" for key, value in keys.items()]
    return texts


def test_recipe_is_checked_without_torch() -> None:
    code = (
        "import sys\nfrom r1kit import plan, recipe\n"
        "planned = plan.make_plan(recipe.load_recipe('sprout-r1'))\n"
        "assert not planned.warnings, planned.warnings\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
        "print(plan.render(planned))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cold_data (curate" in done.stdout and "safety (preference" in done.stdout


def test_recipe_has_the_papers_values_that_do_not_depend_on_scale() -> None:
    stage = load_recipe("sprout-r1").stage
    assert all(stage[name].model == "sprout-base" for name in ("zero", "dev1", "dev3")), "SFT starts from the base"
    assert stage["cold_data"].model == "zero" and stage["rs_data"].model == "dev2" and stage["r1"].model == "dev3"
    assert stage["zero"].rewards == {"accuracy": 1, "format": 1}
    assert stage["dev2"].rewards == stage["r1"].rewards == {"accuracy": 1, "format": 1, "language": 1}
    assert (stage["cold_data"].temperature, stage["dev2"].epsilon, stage["r1"].temperature) == (1.0, 10.0, 0.7)
    assert stage["safety"].scores == "whole"
    assert stage["helpful"].scores == "summary" and stage["r1"].general_steps / stage["r1"].steps == pytest.approx(
        400 / 1700, abs=0.01
    )
    students = [stage[f"{name}_base"].architecture.model_type for name in ("small", "medium", "large")]
    assert sorted(set(students)) == ["llama", "qwen2"]


@pytest.mark.long
def test_all_stages_run(tmp_path: Path) -> None:
    sets = [part for text in overrides() for part in ("--set", text)]
    command = [sys.executable, "-m", "r1kit", "run", "sprout-r1", "--run-dir", str(tmp_path / "run"), "--json", *sets]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    stages = tmp_path / "run" / "stages"
    finished = {path.parent.name for path in stages.glob("*/artifact.json")}
    assert finished == set(load_recipe("sprout-r1").stage)
    lineage = json.loads((stages / "r1" / "artifact.json").read_text())["parents"]
    assert {name for name in lineage if not name.startswith("world:")} == {"dev3", "helpful", "safety"}
    assert {"world:arithmetic", "world:talk", "world:writing", "world:safety"} <= set(lineage)
    families = [
        {json.loads(line)["family"] for line in (stages / "r1/rollouts" / file).read_text().splitlines()}
        for file in ("step_000001.jsonl", "step_000002.jsonl")
    ]
    assert families[0] == {"arithmetic"} and families[1] > families[0], "general prompts only in the last steps"
    card = json.loads((stages / "rs_data" / "data" / "card.json").read_text())
    assert card["kept"] and card["mixed_in"] and card["rejected"]
    cold = [json.loads(line) for line in (stages / "cold_data" / "data" / "kept.jsonl").read_text().splitlines()]
    assert all("<answer>" in row["original"] and row["response"].startswith("<think>\n") for row in cold)
