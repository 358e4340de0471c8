"""Rollouts sampled beside the updates: which weights sample them, exact resume, and what they overlap with."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_server import chat_server

from r1kit.config import RL
from r1kit.data.store import write_jsonl
from r1kit.engine.scripted import ScriptedEngine
from r1kit.errors import UserError
from r1kit.interrupt import signal_handlers
from r1kit.learn.learner import Learner
from r1kit.metrics.log import read_metrics
from r1kit.model.hf import publish_model
from r1kit.rewards.checks.base import ScoreRequest
from r1kit.rewards.judge.endpoint import Endpoint
from r1kit.rewards.services import Settings
from r1kit.rollout.group import Rollout, Seconds
from r1kit.stages import rl, rl_rewards, rl_rollout
from r1kit.stages.context import StageContext
from r1kit.stages.rl_ahead import Start
from r1kit.types import Score

pytestmark = pytest.mark.slow
KEYS: dict[str, Any] = dict(kind="rl", prompts=[{"source": "world:arithmetic", "limit": 12}], template="none")
KEYS |= dict(steps=6, prompts_per_step=2, num_generations=4, steps_per_rollout=1, max_completion_length=8, beta=0.02)
KEYS |= dict(learning_rate=1e-2, ref_refresh_steps=2, save_every=1, log_rollouts_every=1, rewards={"format": 1.0})
# A random model, or a scripted engine, triggers these.
WATCHDOGS = "never_ends always_cut_off cut_off high_kl repetition format_falls sampling_gap sampling_wrong"
KEYS |= dict(watchdogs=dict.fromkeys(WATCHDOGS.split(), "off"))
TIMEOUT = 300.0  # seconds
EVALUATED = dict(benchmarks={"sums": [{"source": "world:arithmetic", "split": "held_out", "limit": 2}]}, eval_every=2)


def vowels(requests: Sequence[ScoreRequest]) -> list[Score]:
    """Rewards that a random model earns, so that there is a gradient."""
    counts = [float(sum(c in "aeiou0123456789" for c in request.text)) for request in requests]
    return [Score(count, {"format": count}) for count in counts]


@pytest.fixture
def stage(make_decoder, tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., rl.Trainer]:
    """Make trainers of stages, called with the name of a directory and changes to the config."""
    monkeypatch.setattr(rl_rewards, "score_here", vowels)
    publish_model(make_decoder(0), tokenizer, tmp_path / "base")

    def make(name: str, grading: Settings | None = None, **changes: Any) -> rl.Trainer:
        config = RL(model="base", **{**KEYS, "rollouts_ahead": 1, **changes})
        settings, models = asdict(grading) if grading else {}, {"base": tmp_path / "base"}
        context = StageContext("zero", tmp_path / name, 7, "float32", "cpu", 64, models, grading=settings)
        return rl.Trainer(config, context)

    return make


def train(trainer: rl.Trainer, until: int | None = None) -> rl.Trainer:
    """Train until a step. Then nothing more is saved, as if the process had been killed."""
    trainer.restore()
    with trainer.checkpoints, trainer.ahead, trainer.rewards:
        while trainer.step < (until or trainer.config.steps):
            trainer.advance()
            trainer.save(stopping=False)
    return trainer


def files_of(trainer: rl.Trainer) -> dict[str, bytes]:
    """The files of a stage that must not depend on time."""
    directory = trainer.context.dir
    paths = [directory / "metrics.jsonl", *directory.glob("rollouts/*")]
    paths += directory.glob("checkpoints/*/progress.safetensors")
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def weights_of(trainer: rl.Trainer) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in trainer.learner.master.parameters()])


@pytest.mark.parametrize(
    ("changes", "lags"),
    [({}, [0, 1, 1, 1, 1, 1]), ({"steps_per_rollout": 2}, [0, 0, 2, 2, 2, 2]), ({"rollouts_ahead": 0}, [0] * 6)],
)
def test_weights_lag_by_the_updates_of_one_rollout(stage, changes: dict, lags: list[int]) -> None:
    trainer = train(stage("zero", **changes))
    rows = read_metrics(trainer.log.path)
    assert [row["sampling/weights_lag"] for row in rows] == lags and not any("alerts" in row for row in rows)
    # Engine and learner are compared where they have the same weights.
    per_rollout = trainer.config.steps_per_rollout
    compared = ["sampling/logp_difference_max" in row for row in rows]
    assert compared == [not lag and i % per_rollout == 0 for i, lag in enumerate(lags)]
    assert ("time/overlapped/rollout" in rows[-per_rollout]) == bool(trainer.config.rollouts_ahead)


def test_weights_older_than_intended_stop_the_stage(stage) -> None:
    trainer = stage("zero")
    trainer.engine.load_weights = lambda model, version: None
    with pytest.raises(UserError, match=r"stale_weights: .* 2 updates"):
        train(trainer)
    assert [row["sampling/weights_lag"] for row in read_metrics(trainer.log.path)] == [0, 1, 2]


def test_rollout_is_that_of_the_weights_before_the_updates(stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampled alone with the weights of their version, completions and log-probabilities are the same."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # so that the thread computes with one, as `alone` does
    taken: list[Rollout] = []
    start_next = rl.Trainer._start_next
    monkeypatch.setattr(rl.Trainer, "_start_next", lambda self, each: taken.append(each) or start_next(self, each))
    trainer = train(stage("zero"))
    monkeypatch.undo()
    assert [rollout.step for rollout in taken] == [0, 1, 2, 3, 4, 5]
    assert trainer.cursor == 12 and trainer.tokens == sum(rollout.tokens for rollout in taken)
    monkeypatch.setattr(rl_rewards, "score_here", vowels)
    before = train(stage("before"), until=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    before.engine.load_weights(before.learner.model, 2)
    again = before._collect(Start(step=3, cursor=6, version=2))
    torch.set_num_threads(threads)
    assert again.sampled == taken[3].sampled


@pytest.mark.parametrize(
    "changes",
    [{}, {"steps_per_rollout": 2, **EVALUATED}, {"lora_rank": 2, "steps": 4}],
    ids=["1 update", "2 updates", "adapters"],
)
def test_resumed_stage_is_identical_however_long_sampling_takes(
    stage, changes: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "lora_rank" in changes:
        pytest.importorskip("peft")
    undisturbed = train(stage("undisturbed", **changes))
    sample, delay = rl_rollout.sample_completions, 0.0

    def slow(*args: Any) -> Any:
        time.sleep(delay)
        return sample(*args)

    monkeypatch.setattr(rl_rollout, "sample_completions", slow)
    for stop in (1, 2):
        train(stage(f"stop-{stop}", **changes), until=stop)
        delay = 0.1 - delay
        resumed = train(stage(f"stop-{stop}", **changes))
        assert files_of(resumed) == files_of(undisturbed)
        assert torch.equal(weights_of(resumed), weights_of(undisturbed))


def test_signal_saves_at_once_while_a_rollout_is_sampled(
    stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint does not wait for the rollout, and the stage resumes with identical results."""
    keys = {"save_every": 50, "steps": 4}
    undisturbed = train(stage("undisturbed", **keys))
    saved, sample = tmp_path / "stopped/checkpoints/step_00000003", rl_rollout.sample_completions
    seen: list[bool] = []

    def stopping(engine: Any, *args: Any) -> Any:
        if engine.version == 2 and not seen:  # beside update 3, which is the last one then
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append(_appears(saved))
        return sample(engine, *args)

    monkeypatch.setattr(rl_rollout, "sample_completions", stopping)
    config, context = (first := stage("stopped", **keys)).config, first.context
    with signal_handlers(), pytest.raises(KeyboardInterrupt):
        rl.run(config, context)
    assert seen == [True], "saved before the rollout ended"
    assert not (context.dir / "model").exists()
    assert torch.equal(weights_of(train(stage("stopped", **keys))), weights_of(undisturbed))


def _appears(path: Path, seconds: float = TIMEOUT) -> bool:
    """Wait until a path exists; return whether it does."""
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return path.exists()


def test_error_in_the_thread_ends_the_stage(stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(requests: Sequence[ScoreRequest]) -> list[Score]:
        if threading.current_thread() is not threading.main_thread():
            raise UserError("no such reward")
        return vowels(requests)

    monkeypatch.setattr(rl_rewards, "score_here", failing)
    trainer = stage("zero")
    with pytest.raises(UserError, match="no such reward"):
        train(trainer)
    assert trainer.step == 1


def test_judge_works_beside_sampling_and_beside_the_update(stage, tmp_path: Path, monkeypatch, tokenizer) -> None:
    """Each waits for the other: without overlap, the events time out."""
    problems = [{"question": f"Capital {n}?", "answer": "Paris", "verifier": "judge"} for n in range(6)]
    write_jsonl(tmp_path / "problems.jsonl", problems)
    asked, asked_beside_update, updating = threading.Event(), threading.Event(), threading.Event()
    overlaps: list[bool] = []

    def judge(body: dict[str, Any]) -> str:
        asked.set()
        if len(server.seen) > 4:  # of the second rollout
            asked_beside_update.set()
            overlaps.append(updating.wait(TIMEOUT))
        return "Verdict: correct"

    def script(prompt_id: str, sample: int) -> str:
        if sample:
            overlaps.append(asked.wait(TIMEOUT))  # the first completion is judged before the second is sampled
        return f"\\boxed{{Paris {prompt_id} {sample}}}"

    def step(self: Learner, *args: Any) -> dict[str, float]:
        updating.set()
        overlaps.append(asked_beside_update.wait(TIMEOUT))
        return update(self, *args)

    update = Learner.step
    monkeypatch.setattr(Learner, "step", step)
    monkeypatch.setattr(rl, "make_engine", lambda model, *_: ScriptedEngine(tokenizer, script))
    keys = dict(prompts=[str(tmp_path / "problems.jsonl")], rewards={"accuracy": 1.0}, num_generations=2, steps=2)
    with chat_server(judge) as server:
        settings = Settings(judge=Endpoint(server.url, "judge", max_concurrent=1))
        trainer = train(stage("zero", settings, max_completion_length=60, **keys))
    assert len(server.seen) == 8 and overlaps and all(overlaps)
    first, second = read_metrics(trainer.log.path)
    assert first["time/grade"] > 0 and "time/overlapped/grade" not in first
    assert second["time/overlapped/grade"] > 0 and second["rewards/accuracy/mean"] == 1


@pytest.mark.parametrize(
    ("waited", "visible", "overlapped"),
    [(None, (4, 2, 1), None), (0.0, (0, 0, 0), (4, 2)), (1.0, (0, 1, 0.5), (4, 1)), (3.0, (1, 2, 1), (3, 0))],
)
def test_trainer_waits_for_grades_last(waited: float | None, visible: tuple, overlapped: tuple | None) -> None:
    names = ("time/rollout", "time/grade", "time/reward_models")
    expected = dict(zip(names, visible, strict=True))
    if overlapped is not None:
        expected |= dict(zip(("time/overlapped/rollout", "time/overlapped/grade"), overlapped, strict=True))
    assert Seconds(4.0, 2.0, 1.0, waited).metrics() == expected
