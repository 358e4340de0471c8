"""The RL stage with an environment: what it logs, and that an interrupted stage continues with the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1kit.config import RL
from r1kit.errors import UserError
from r1kit.metrics.log import read_metrics
from r1kit.model.hf import publish_model
from r1kit.stages import rl
from r1kit.stages.context import StageContext

ENVIRONMENT = """
import time
def echo(problem, turns):
    time.sleep(hash(turns[-1]) % 7 / 1000)  # Python's hash differs from process to process
    return f" {len(turns[-1])} " if len(turns) < 3 else len(problem.answer) + len(turns[0]) % 5
echo.stop = ("a", "e", "i", "1")
"""
KEYS = dict(kind="rl", prompts=[{"source": "world:arithmetic", "limit": 8}], prompts_per_step=2, num_generations=4)
KEYS |= dict(steps_per_rollout=2, max_completion_length=64, save_every=1, rewards={"environment": 1.0})
KEYS |= dict(environment="echoing:echo", template="none", log_rollouts_every=1, steps=5, learning_rate=1e-3)
KEYS |= dict(watchdogs=dict.fromkeys(("constant_reward", "never_ends", "always_cut_off"), "off"))


@pytest.fixture
def base(make_decoder, tokenizer, tmp_path: Path) -> Path:
    publish_model(make_decoder(0), tokenizer, tmp_path / "base")
    (tmp_path / "echoing.py").write_text(ENVIRONMENT)
    return tmp_path / "base"


def train(base: Path, name: str, steps: int, **changes: object) -> rl.Trainer:
    """Train up to a step, from the last checkpoint if there is one."""
    config = RL(model=str(base), **{**KEYS, **changes})
    grading = {"folder": str(base.parent), "timeout": 20.0}
    directory = base.parent / name
    context = StageContext("zero", directory, 7, "float32", "cpu", 64, {str(base): base}, grading=grading)
    trainer = rl.Trainer(config, context)
    with trainer.checkpoints, trainer.ahead, trainer.rewards:
        trainer.restore()
        while trainer.step < steps:
            trainer.advance()
            trainer.save(stopping=False)
    return trainer


def written(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in [directory / "metrics.jsonl", *directory.glob("rollouts/*")]}


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [0, 1])
def test_interrupted_stage_continues_with_the_same_bits(base: Path, ahead: int) -> None:
    done = train(base, "straight", 5, rollouts_ahead=ahead)
    for steps in (1, 2, 5):  # between two updates of a rollout, and between two rollouts
        resumed = train(base, "resumed", steps, rollouts_ahead=ahead)
    assert written(base.parent / "resumed") == written(base.parent / "straight")
    weights = resumed.learner.model.state_dict()
    assert all((weights[name] == value).all() for name, value in done.learner.model.state_dict().items())
    row = read_metrics(base.parent / "straight/metrics.jsonl")[-1]
    assert row["episodes/turns"] > 1 and row["episodes/environment_tokens"] > 0
    assert row["rewards/environment/mean"] > 0 and row["completions/max_length"] < 64


@pytest.mark.slow
def test_engine_and_learner_agree_on_the_sampled_tokens(base: Path) -> None:
    train(base, "zero", 1)
    (row,) = read_metrics(base.parent / "zero/metrics.jsonl")
    assert row["episodes/turns"] > 1 and row["sampling/logp_difference_max"] < 1e-3


def test_environment_must_exist(base: Path) -> None:
    with pytest.raises(UserError, match="did you mean calculator"):
        train(base, "zero", 1, environment="calculater")
    with pytest.raises(UserError, match=r"environment echoing:nothing: .*nothing"):
        train(base, "zero", 1, environment="echoing:nothing")
