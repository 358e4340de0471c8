"""The rewards of an RL stage: rules, reward models and worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from r1kit.config import RL, Prompting
from r1kit.data.prompt import Prompt, make_prompts
from r1kit.engine.base import SamplingParams
from r1kit.engine.scripted import ScriptedEngine
from r1kit.rewards.services import Settings
from r1kit.rollout.sample import sample_completions
from r1kit.stages import rl_rewards
from r1kit.stages.context import StageContext
from r1kit.stages.reward_model import Answer
from r1kit.stages.rl_prompts import RLPrompts
from r1kit.stages.rl_rewards import RLRewards
from r1kit.types import Completion

KEYS = {"kind": "rl", "model": "m", "prompts": [{"source": "world:logic", "limit": 40}], "template": "none"}
GENERAL = [
    {"prompts": ["world:talk"], "rewards": {"helpful": 0.5, "format": 1.0, "language": 1.0}},
    {"prompts": ["world:safety"], "rewards": {"format": 2.0}},
]
CONFIG = RL(**KEYS, rewards={"accuracy": 1.0, "language": 1.0}, general=GENERAL, steps=17, general_steps=4)
TEXT = "<think> I see. </think> No."


def make_rewards(config: RL, directory: Path, **changes: object) -> RLRewards:
    context = StageContext("r1", directory, 3, "float32", "cpu", 8, {"m": directory})
    return RLRewards(config, replace(context, **changes), RLPrompts(config, context.seed))


def length(answers: Sequence[Answer]) -> list[float]:
    """A reward model that prefers long responses."""
    return [float(len(answer.response)) for answer in answers]


@pytest.mark.parametrize(
    ("family", "parts", "total"),
    [
        ("logic", {"accuracy": 0.0, "language": None}, 0.0),
        ("factual QA", {"helpful": len(TEXT), "format": 1.0, "language": None}, 0.5 * len(TEXT) + 1),
        ("safety", {"format": 1.0}, 2.0),
    ],
)
def test_each_prompt_is_scored_by_its_own_rewards(tmp_path: Path, family: str, parts: dict, total: float) -> None:
    rewards = make_rewards(CONFIG, tmp_path)
    rewards.models = {"helpful": length}
    problem = next(problem for problem in rewards.prompts.problems if problem.family == family)
    (score,) = rewards.score(Prompt(problem, "", ()), [Completion("p", 0, (1,), (0.0,), TEXT, "stop")])
    in_english = float(problem.language == "en")
    assert score.parts == {name: in_english if value is None else value for name, value in parts.items()}
    assert score.total == total + ("language" in parts) * in_english


def test_reward_models_read_the_opening_think_tag(tmp_path: Path) -> None:
    rewards = make_rewards(CONFIG, tmp_path)
    read: list[Answer] = []
    rewards.models = {"helpful": lambda answers: read.extend(answers) or length(answers)}
    problem = next(problem for problem in rewards.prompts.problems if problem.family == "factual QA")
    completions = [Completion("p", i, (1,), (0.0,), "so</think> No.", end) for i, end in enumerate(("stop", "length"))]
    rewards.score(Prompt(problem, "", (), think_open=True), completions)
    answer = Answer(problem.question, "<think>so</think> No.")
    assert read == [answer, answer._replace(truncated=True)]


@pytest.mark.parametrize(("offload", "kept_on"), [(True, "cpu"), (False, "cuda")])
def test_offloaded_reward_models_are_on_the_device_while_they_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offload: bool, kept_on: str
) -> None:
    at: list[str] = []

    class Scorer:
        def __init__(self, directory: Path, device: str, dtype: str) -> None:
            self.model = torch.nn.Linear(1, 1)
            at.append(device)

    @contextmanager
    def moved(module: torch.nn.Module, device: str) -> Iterator[None]:
        at.append(device)
        yield
        at.append("back")

    monkeypatch.setattr(rl_rewards, "RewardModelScorer", Scorer)
    monkeypatch.setattr(rl_rewards, "moved", moved)
    config, models = CONFIG.model_copy(update={"offload": offload}), {"m": tmp_path, "helpful": tmp_path}
    rewards = make_rewards(config, tmp_path, device="cuda", models=models)
    with rewards.loaded_models():
        at.append("scored")
    assert at == [kept_on, "cuda", "scored", "back"]


def test_language_of_long_completions_is_identified_in_worker_processes(tmp_path: Path) -> None:
    for length, in_processes in ((1_000, False), (32_768, True)):
        config = RL(**KEYS, rewards={"format": 1.0, "language": 1.0}, max_completion_length=length)
        with make_rewards(config, tmp_path) as rewards:
            assert (rewards.pool is not None) == in_processes
            assert (rewards.scorer_of_finished([]) is not None) == in_processes, "scored while others are sampled"


def test_rules_need_no_worker_processes(tmp_path: Path) -> None:
    rewards = make_rewards(RL(**KEYS, rewards={"accuracy": 1.0}), tmp_path)
    assert rewards.pool is None and rewards.scorer_of_finished([]) is None and rewards.take_report() == {}


def test_scoring_during_generation_gives_the_same_scores(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    (tmp_path / "custom.py").write_text("def length(problem, text): return float(len(text))")
    config = RL(**KEYS, rewards={"custom:length": 1.0, "accuracy": 1.0}, steps=1, num_generations=3)
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: f"<think> {prompt_id}{'!' * sample}")
    settings = asdict(Settings(folder=str(tmp_path)))
    with make_rewards(config, tmp_path, reward_workers=2, grading=settings) as rewards:
        prompts = make_prompts(rewards.prompts.take(0, 4, step=0), Prompting(template="none"), tokenizer)
        on_finished = rewards.scorer_of_finished(prompts)
        groups = sample_completions(engine, prompts, 3, SamplingParams(0, 500), on_finished)
        assert sum(map(len, rewards.pool._started.values())) == 12, "scoring started before any score was requested"
        during, afterwards = ([rewards.score(*pair) for pair in zip(prompts, groups, strict=True)] for _ in range(2))
        assert during == afterwards and not rewards.pool._started
        assert [[score.parts["custom:length"] for score in group] for group in during] == [[24.0, 25.0, 26.0]] * 4
        report = rewards.take_report()
        assert sum(count for name, count in report.items() if name.startswith("grading/")) == 24
