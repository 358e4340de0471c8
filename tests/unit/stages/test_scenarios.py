"""RL for all scenarios: general prompts come late, earn what their group says, and reward models speak of them only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from r1kit.config import RL
from r1kit.engine.base import SamplingParams
from r1kit.engine.scripted import ScriptedEngine
from r1kit.evals.runner import evaluate
from r1kit.recipe import RecipeError, load_recipe
from r1kit.rewards.score import RewardError
from r1kit.rewards.services import Settings
from r1kit.rollout.ask import ask
from r1kit.stages.context import StageContext
from r1kit.stages.rollout import Group, Rollout, describe
from r1kit.stages.scenarios import Scenarios
from r1kit.types import Completion, Problem

GENERAL = [
    {"prompts": ["world:talk"], "rewards": {"helpful": 0.5, "format": 1.0, "language": 1.0}},
    {"prompts": ["world:safety"], "rewards": {"format": 2.0}},
]
KEYS = {"kind": "rl", "model": "m", "prompts": [{"source": "world:logic", "limit": 40}], "template": "none"}
CONFIG = RL(**KEYS, rewards={"accuracy": 1.0, "language": 1.0}, general=GENERAL, steps=17, general_steps=4)


@pytest.fixture
def scenarios(tmp_path: Path) -> Scenarios:
    made = Scenarios(CONFIG, StageContext("r1", tmp_path, 3, "float32", "cpu", 8, {"m": tmp_path}))

    def helpful(answers: Sequence[tuple[str, str]]) -> list[float]:
        return [float(len(response)) for _, response in answers]

    made.scorers = {"helpful": helpful}
    return made


def test_general_prompts_come_in_the_last_steps_only(scenarios: Scenarios) -> None:
    general = set(scenarios.rewards)
    assert not any(problem.id in general for problem in scenarios.take(0, 200, step=12))
    late = scenarios.take(0, 200, step=13)
    assert sum(problem.id in general for problem in late) == 100
    assert {problem.family for problem in late} > {"logic", "safety", "factual QA"}
    assert late[50:90] == scenarios.take(50, 40, step=16), "a pure function of the number"


def test_every_prompt_earns_by_its_own_rewards(scenarios: Scenarios) -> None:
    by_family = {problem.family: problem for problem in scenarios.take(0, 300, step=16)}
    said = "<think> I see. </think> No."
    completion = Completion("p", 0, (1,), (0.0,), said, "stop")
    parts = {}
    for family in ("logic", "factual QA", "safety"):
        (score,) = scenarios.grade(by_family[family], [completion], tokenizer=None)
        parts[family] = (dict(score.parts), score.total)
        groups = [Group(by_family[family], [completion], [score], [score.total])]
        names = [key for key in describe(Rollout(0, groups, groups), CONFIG.reward_names) if key.startswith("rewards/")]
        assert names == [f"rewards/{name}/mean" for name in CONFIG.reward_names if name in score.parts]
    spoken = float(by_family["logic"].language == "en")
    assert parts["logic"] == ({"accuracy": 0.0, "language": spoken}, spoken)
    spoken = float(by_family["factual QA"].language == "en")
    assert parts["factual QA"] == (
        {"helpful": len(said), "format": 1.0, "language": spoken},
        0.5 * len(said) + 1 + spoken,
    )
    assert parts["safety"] == ({"format": 1.0}, 2.0)


def test_grading_beside_generation_changes_no_score(tmp_path: Path, tokenizer) -> None:
    (tmp_path / "beside.py").write_text("def length(problem, text): return float(len(text))")
    config = RL(**KEYS, rewards={"beside:length": 1.0, "accuracy": 1.0}, steps=1, num_generations=3)
    context = StageContext("r1", tmp_path, 3, "float32", "cpu", 8, {"m": tmp_path}, reward_workers=2)
    context = replace(context, grading=asdict(Settings(folder=str(tmp_path))))
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: f"<think> {prompt_id}{'!' * sample}")
    params = SamplingParams(0, 500)
    with Scenarios(config, context) as scenarios:
        problems = scenarios.take(0, 4, step=0)
        answers = ask(engine, tokenizer, problems, "none", 3, params, scenarios.beside(problems, tokenizer))
        assert sum(map(len, scenarios.pool._begun.values())) == 12, "all are on their way before any is asked for"
        beside, after = (
            [scenarios.grade(*pair, tokenizer) for pair in zip(problems, answers, strict=True)] for _ in range(2)
        )
        assert beside == after and not scenarios.pool._begun
        assert [[score.parts["beside:length"] for score in group] for group in beside] == [[24.0, 25.0, 26.0]] * 4


def test_answers_that_cannot_be_graded_are_left_out_of_an_evaluation(tokenizer) -> None:
    good, bad = Problem("good", "1+1?", "2"), Problem("bad", "Which?", "B", verifier="choice")  # no options
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: f"<think>so</think> \\boxed{{{2 + sample}}}")
    ways = {"template": "none", "samples": 2, "params": SamplingParams(0, 500)}
    found = evaluate(engine, tokenizer, {"both": [good, bad]}, **ways)
    summary = found.benchmarks["both"]
    assert (summary["pass@1"], summary["ungraded"], summary["format_rate"]) == (0.5, 2, 1.0)
    assert [row["correct"] for row in found.samples] == [True, False, None, None]
    assert "options" in found.samples[2]["reason"]
    with pytest.raises(RewardError, match="benchmark none: .*options"):
        evaluate(engine, tokenizer, {"none": [bad]}, **ways)


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


def test_a_reward_may_be_an_earlier_stage(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text(RECIPE)
    recipe = load_recipe(str(path))
    assert recipe.stage["r1"].models_read(recipe.stage) == ["sprout-base", "helpful"]
    assert recipe.stage["r1"].general_steps == 400  # paper: of 1,700
    for change, mistake in (
        ("stage.r1.rewards={accuracy=1, helpful=1}", "stage.r1.rewards: helpful: a reward model can only grade prompts under"),
        (
            'stage.r1.general=[{prompts=["world:talk"], rewards={helpfull=1.0}}]',
            "stage.r1.general[0].rewards: unknown reward 'helpfull'",
        ),
    ):
        with pytest.raises(RecipeError) as caught:
            load_recipe(str(path), [change])
        assert mistake in str(caught.value)
