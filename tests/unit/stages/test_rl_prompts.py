"""Which prompts an RL stage draws at which step."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1kit.config import RL
from r1kit.data.store import DataError, write_jsonl
from r1kit.recipe import RecipeError, load_recipe
from r1kit.stages.rl_prompts import RLPrompts
from r1kit.types import Problem

CONFIG = RL(
    kind="rl",
    model="m",
    prompts=[{"source": "world:logic", "limit": 40}],
    rewards={"accuracy": 1.0},
    general=[
        {"prompts": ["world:talk"], "rewards": {"helpful": 0.5, "format": 1.0}},
        {"prompts": ["world:safety"], "rewards": {"format": 2.0}},
    ],
    steps=17,
    general_steps=4,
)


@pytest.fixture(scope="module")
def prompts() -> RLPrompts:
    return RLPrompts(CONFIG, seed=3)


def is_general(problem) -> bool:
    return problem.family != "logic"


def test_general_prompts_are_drawn_in_the_last_steps_only(prompts: RLPrompts) -> None:
    assert not any(map(is_general, prompts.take(0, 32, step=12)))
    late = prompts.take(0, 200, step=13)
    assert sum(map(is_general, late)) == 100, "general_share is 0.5"
    assert {problem.family for problem in late} > {"logic", "safety", "factual QA"}


def test_general_prompts_begin_at_their_step_inside_a_rollout(prompts: RLPrompts) -> None:
    per_step = CONFIG.prompts_per_step
    drawn = prompts.take(0, 17 * per_step, step=0)
    steps = [any(map(is_general, drawn[i * per_step : (i + 1) * per_step])) for i in range(17)]
    assert steps == [False] * 13 + [True] * 4, "general_steps = 4 of 17 steps, in a single rollout"


def test_general_prompts_are_spread_evenly() -> None:
    config = CONFIG.model_copy(update={"general_share": 0.25})
    late = RLPrompts(config, seed=3).take(0, 200, step=16)
    assert all(sum(map(is_general, late[i : i + 4])) == 1 for i in range(0, 200, 4))


def test_prompts_are_a_pure_function_of_number_and_step(prompts: RLPrompts) -> None:
    late = prompts.take(0, 200, step=13)
    assert late[50:90] == prompts.take(50, 40, step=16)
    assert prompts.take(0, 40, step=0) == RLPrompts(CONFIG, seed=3).take(0, 40, step=0)
    assert prompts.take(0, 40, step=0) != RLPrompts(CONFIG, seed=4).take(0, 40, step=0)


def test_each_prompt_has_the_rewards_of_its_group(prompts: RLPrompts) -> None:
    by_family = {problem.family: problem for problem in prompts.take(0, 300, step=16)}
    assert prompts.rewards(by_family["logic"]) == {"accuracy": 1.0}
    assert prompts.rewards(by_family["factual QA"]) == {"helpful": 0.5, "format": 1.0}
    assert prompts.rewards(by_family["safety"]) == {"format": 2.0}


QUESTIONS = [f"A train with {n} cars leaves the station at noon and returns {n} hours later" for n in range(3)]


def load_from_file(directory: Path, questions: list[str], **changes: object) -> RLPrompts:
    """Load prompts of a file, and a benchmark that consists of the first question."""
    write_jsonl(directory / "train.jsonl", [{"question": text, "answer": "1"} for text in questions])
    config = RL(kind="rl", model="m", prompts=[str(directory / "train.jsonl")], **changes)
    return RLPrompts(config, 3, {"trains": [Problem("t", QUESTIONS[0] + " (test)", "1")]})


def test_prompts_that_overlap_with_a_benchmark_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = [problem.question for problem in load_from_file(tmp_path, QUESTIONS).problems]
    assert left == QUESTIONS[1:], "these have fewer than 10 words in a row in common with it"
    said = "train.jsonl: 1 of 3 prompts left out: they overlap with benchmarks (1 with trains)"
    assert said in capsys.readouterr().err
    assert len(load_from_file(tmp_path, QUESTIONS, ngram=0).problems) == 3


def test_source_without_any_other_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all 1 prompts overlap with the benchmarks \(1 with trains\): train on other"):
        load_from_file(tmp_path, QUESTIONS[:1])


def test_worlds_are_not_compared_with_benchmarks() -> None:
    same = {"logic": RLPrompts(CONFIG, seed=3).problems}
    assert len(RLPrompts(CONFIG, 3, same).problems) == len(same["logic"])


RECIPE = """
name = "g"
[stage.helpful]
kind = "preference"
model = "sprout-base"
data = ["org/pairs"]
[stage.r1]
kind = "rl"
model = "sprout-base"
prompts = ["world:logic"]
general = [{ prompts = ["world:talk"], rewards = { helpful = 1.0, format = 1.0 } }]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "g.toml").write_text(RECIPE)
    return str(tmp_path / "g.toml")


def test_a_reward_of_general_prompts_can_be_an_earlier_stage(recipe: str) -> None:
    stages = load_recipe(recipe).stage
    assert stages["r1"].models_read(stages) == ["sprout-base", "helpful"]
    assert stages["r1"].general_steps == 400  # paper: of 1,700


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "stage.r1.rewards={accuracy=1, helpful=1}",
            "stage.r1.rewards: helpful: a reward model can only grade prompts under general",
        ),
        (
            'stage.r1.general=[{prompts=["world:talk"], rewards={helpfull=1.0}}]',
            "stage.r1.general[0].rewards: unknown reward 'helpfull'",
        ),
    ],
)
def test_rewards_that_cannot_be_given_are_refused(recipe: str, change: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, [change])
    assert message in str(caught.value)
