"""A published environment of the package verifiers: Reasoning Gym's, as examples/verifiers trains it.

Run by `make test-verifiers`, in an environment with both packages.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verifiers")
pytest.importorskip("reasoning_gym")

from paths import ROOT

from r1kit.config import PromptSource
from r1kit.data.problems import load_problems
from r1kit.environments.base import Environment
from r1kit.environments.named import environment_named
from r1kit.types import Problem

EXAMPLES = ROOT / "examples/verifiers"
SOURCE = "verifiers:gym_sums"
pytestmark = pytest.mark.slow  # Reasoning Gym alone takes seconds to import
SMALL = {
    "stage.taught.epochs": 2,
    "stage.zero.steps": 2,
    "stage.zero.prompts_per_step": 4,
    "stage.zero.num_generations": 4,
    "defaults.evaluate.samples": 1,
    "defaults.evaluate.benchmarks.sums": f'[{{source = "{SOURCE}", split = "held_out", limit = 8}}]',
}


@pytest.fixture(scope="module")
def gym() -> Environment:
    return environment_named(SOURCE, EXAMPLES)


def problems(split: str) -> list[Problem]:
    return load_problems([PromptSource(source=SOURCE, split=split)])


def value(question: str) -> int:
    """The result of a sum or difference, from left to right."""
    return sum(int(sign.replace(" ", "") + number) for sign, number in re.findall(r"(- |)(\d+)", question))


def score(gym: Environment, problem: Problem, text: str) -> float:
    episode = gym.start(problem, 0)
    assert episode.step(text) is None  # a single turn
    return episode.score()


def test_the_answer_between_tags_is_scored_by_the_published_rubric(gym: Environment) -> None:
    for problem in problems("train")[:20]:
        right = value(problem.question)
        assert score(gym, problem, f"<think>\n1+1=2\n</think>\n<answer>\n{right}\n</answer>") == 1
        assert score(gym, problem, f"<answer>{right + 1}</answer>") < 1
        assert score(gym, problem, "I do not know.") == 0


def test_the_worked_examples_are_right_and_not_held_out(gym: Environment) -> None:
    text = (EXAMPLES / "worked-sums.jsonl").read_text()
    done = subprocess.run([sys.executable, "worked_sums.py"], cwd=EXAMPLES, capture_output=True, text=True, check=True)
    assert done.stdout == text
    rows = [json.loads(line) for line in text.splitlines()]
    assert all(f"<answer>\n{value(row['prompt'])}\n</answer>" in row["response"] for row in rows)
    held_out = {problem.question for problem in problems("held_out")}
    assert len(held_out) == 200 and held_out.isdisjoint(row["prompt"] for row in rows)


def test_the_recipe_trains_and_evaluates(tmp_path: Path) -> None:
    given = [part for key, setting in SMALL.items() for part in ("--set", f"{key}={setting}")]
    command = [sys.executable, "-m", "r1kit", "run", str(EXAMPLES / "gym-sums.toml"), "--json", *given]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--run-dir", str(tmp_path / "run")], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    evals = json.loads(done.stdout.splitlines()[-1])["evals"]
    assert all(evals[stage]["benchmarks"]["sums"]["problems"] == 8 for stage in ("taught_eval", "zero_eval"))
    rows = [json.loads(line) for line in (tmp_path / "run/stages/zero/metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all("completions/ungraded" not in row for row in rows)
