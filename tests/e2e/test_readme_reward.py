"""The recipe and the reward that README.md shows run as they are, on a bundled model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

from paths import ROOT

import r1kit
from r1kit.metrics.log import read_metrics

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, beginning: str) -> str:
    """Return the code block of README.md that begins with a text."""
    [code] = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if text.startswith(beginning)]
    return code


def test_reward_and_recipe_of_the_readme_run(tmp_path: Path) -> None:
    reward = block("python", "# my_rewards.py")
    assert len(reward.splitlines()) <= 5
    (tmp_path / "my_rewards.py").write_text(reward)
    (tmp_path / "my-recipe.toml").write_text(block("toml", 'name = "my-zero"'))
    rows = [{"question": f"What is {i} + 2?", "answer": str(i + 2)} for i in range(8)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = tomllib.loads(block("toml", 'model = "sprout-base"'))
    keys = small | {"steps": 1, "prompts_per_step": 2, "num_generations": 4, "steps_per_rollout": 1}
    command = [sys.executable, "-m", "r1kit", "run", "my-recipe.toml"]
    command += [part for key, value in keys.items() for part in ("--set", f"stage.zero.{key}={value}")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(r1kit.__file__).parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    [row] = read_metrics(tmp_path / "runs/my-zero/stages/zero/metrics.jsonl")
    assert row["rewards/my_rewards:brevity/mean"] == 1, "completions of at most 64 tokens are short"


def test_readme_says_where_the_reward_lies_and_what_a_completion_holds() -> None:
    reward = block("python", "# my_rewards.py")
    assert re.search(r"def \w+\(completion\):", reward), "the signature"
    assert "in the recipe's directory" in reward, "where the file lies"
    named = reward.partition("):  # ")[2].splitlines()[0].split(", ")
    assert {"text", "thinking", "answer", "finish_reason", "token_count"} <= set(named)
    assert set(named) <= {field.name for field in fields(r1kit.RewardInput)}
