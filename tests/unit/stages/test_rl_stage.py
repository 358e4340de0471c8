"""The RL stage with a tiny model: evaluations during training, and the export of its checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.config import RL, Recipe
from r1kit.errors import UserError
from r1kit.learn.lora import trained_weights
from r1kit.metrics.log import read_metrics
from r1kit.model.hf import load_model, publish_model
from r1kit.run.outputs.export import export
from r1kit.stages import rl
from r1kit.stages.context import Amended, StageContext

WATCHDOGS = dict.fromkeys("constant_reward never_ends always_cut_off".split(), "off")
KEYS = dict(kind="rl", prompts=[{"source": "world:arithmetic", "limit": 8}], prompts_per_step=2, num_generations=2)
KEYS |= dict(steps_per_rollout=1, max_completion_length=8, beta=0.0, save_every=1, rewards={"own:last": 1.0})
KEYS |= dict(benchmarks={"sums": [{"source": "world:arithmetic", "split": "held_out", "limit": 2}]}, eval_samples=2)
PROTOCOL = {"template": "none", "temperature": 0.0, "top_p": 1.0, "samples": 3, "max_completion_length": 5}


@pytest.fixture
def run_dir(make_decoder, tokenizer, tmp_path: Path) -> Path:
    """The directory of a run whose base model is tmp_path/base."""
    publish_model(make_decoder(0), tokenizer, tmp_path / "base")
    (tmp_path / "own.py").write_text("def last(problem, text): return float(len(text) % 7)")
    return tmp_path / "run"


def make_trainer(run_dir: Path, since: Amended | None = None, **changes: object) -> rl.Trainer:
    """Make the trainer of a stage of nine steps."""
    base = run_dir.parent / "base"
    config = RL(model=str(base), steps=9, watchdogs=WATCHDOGS, **{**KEYS, **changes})
    files, grading = {str(base): base}, {"folder": str(run_dir.parent)}
    directory, since = run_dir / "stages/zero", since or Amended()
    return rl.Trainer(
        config, StageContext("zero", directory, 7, "float32", "cpu", 64, files, grading=grading, since=since)
    )


def train(run_dir: Path, steps: int = 3, **changes: object) -> rl.Trainer:
    """Train an unfinished stage for `steps` steps."""
    trainer = make_trainer(run_dir, **changes)
    with trainer.checkpoints, trainer.rewards:
        trainer.evaluate_at_start()
        for _ in range(steps):
            trainer.advance()
            trainer.save(stopping=False)
    return trainer


@pytest.mark.slow
def test_evaluation_before_the_first_update_has_step_0(run_dir: Path) -> None:
    train(run_dir, 1, eval_every=1, eval_at_start=True)
    rows = read_metrics(run_dir / "stages/zero/metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1]
    assert all("eval/sums/pass@1" in row and "eval/sums/cons@2" in row for row in rows) and "reward" not in rows[0]


@pytest.mark.slow
def test_evaluations_can_sample_as_an_evaluate_stage_does(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict] = []
    evaluate = rl.evaluate
    monkeypatch.setattr(rl, "evaluate", lambda *args, **keys: calls.append(keys) or evaluate(*args, **keys))
    train(run_dir, 1, eval_every=1, eval_protocol=PROTOCOL)
    assert "eval/sums/cons@3" in read_metrics(run_dir / "stages/zero/metrics.jsonl")[0]
    (call,) = calls
    assert (call["style"].template, call["samples"]) == ("none", 3)
    assert (call["params"].temperature, call["params"].top_p, call["params"].max_tokens) == (0.0, 1.0, 5)


@pytest.mark.slow
def test_amended_stage_drops_completions_of_the_old_settings(run_dir: Path) -> None:
    before = train(run_dir, 1, steps_per_rollout=2)
    assert before.rollout is not None
    resumed, amended = (make_trainer(run_dir, since, steps_per_rollout=2) for since in (Amended(), Amended(step=1)))
    for trainer in (resumed, amended):
        with trainer.checkpoints, trainer.rewards:
            trainer.restore()
    assert resumed.rollout is not None and amended.rollout is None
    assert resumed.step == amended.step == 1 and resumed.cursor == amended.cursor == before.cursor


@pytest.mark.slow
def test_best_evaluated_model_is_chosen_and_kept(run_dir: Path) -> None:
    trainer = train(run_dir, 4, eval_every=1, best_metric="eval/sums/format_rate")
    assert trainer.best.step == 1, "all evaluations are equal, so the first wins"
    names = sorted(path.name for path in trainer.checkpoints.directory.iterdir())
    assert names == ["step_00000001", "step_00000003", "step_00000004"]
    at_end = [weight.clone() for weight in trainer.learner.master.parameters()]
    trainer.checkpoints.load_model(trainer.learner, 1)
    assert not all(map(torch.equal, at_end, trainer.learner.master.parameters()))
    again = make_trainer(run_dir, eval_every=1, best_metric="eval/sums/format_rate")
    changed = make_trainer(run_dir, Amended(4, is_comparable=False), eval_every=1, best_metric="eval/sums/format_rate")
    for each in (again, changed):
        with each.checkpoints, each.rewards:
            each.restore()
    assert (again.best.step, changed.best.step) == (1, None)


@pytest.mark.slow
def test_checkpoint_of_an_unfinished_stage_is_exported(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = train(run_dir)
    keys = trainer.config.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    recipe = {"name": "r", "stage": {"zero": keys, "eval": {"kind": "evaluate", "model": "zero", "benchmarks": {}}}}
    recipe["stage"]["eval"]["benchmarks"] = KEYS["benchmarks"]
    monkeypatch.setattr("r1kit.run.outputs.export.load_recipe", lambda path: Recipe.model_validate(recipe))
    (run_dir / "recipe.toml").write_text("")
    (run_dir / "lineage.json").write_text(json.dumps({"stages": {"zero": {"seed": 7, "dtype": "float32"}}}))
    newest = export(run_dir, "zero")
    assert newest == run_dir / "exports/zero-step-3"
    exported = load_model(newest, torch.float32, "cpu")
    for name, weight in trained_weights(trainer.learner.master).items():
        assert torch.equal(exported.get_parameter(name), weight)
    result = CliRunner().invoke(app, ["export", str(run_dir), "zero", "--step", "2", "--out", str(run_dir / "two")])
    assert result.exit_code == 0 and result.stdout.strip() == str(run_dir / "two"), result.output
    assert not torch.equal(load_model(run_dir / "two", torch.float32, "cpu").embed.weight, exported.embed.weight)
    for stage, step, message in (
        ("zero", 1, r"--step 1: stage zero has checkpoints of the steps 2, 3"),
        ("zero", 3, r"zero-step-3: exists already"),
        ("one", None, r"one: no such stage in .*; stages: zero, eval"),
        ("eval", None, r"stage eval: no checkpoint in"),
    ):
        with pytest.raises(UserError, match=message):
            export(run_dir, stage, step)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"dynamic_sampling": True}, {"rollouts_ahead": 1}, {"beta": 0.1}])
def test_ppo_continues_within_a_rollout_as_if_it_had_not_stopped(run_dir: Path, changes: dict[str, object]) -> None:
    """The values of the critic that saw the rollout first are in the checkpoint: that critic no longer exists."""
    keys = {"objective": "ppo", "steps_per_rollout": 3, "learning_rate": 1e-3, "rewards": {"own:last": 0.5}, **changes}
    finished = run_dir.with_name("finished") / "run"
    (finished.parent / "base").parent.mkdir()
    (finished.parent / "base").symlink_to(run_dir.parent / "base")
    (finished.parent / "own.py").symlink_to(run_dir.parent / "own.py")
    expected = train_ahead(make_trainer(finished, **keys), 5)
    train_ahead(make_trainer(run_dir, **keys), 4)
    again = make_trainer(run_dir, **keys)
    again.restore()
    assert again.step == 4 and all(group.values for group in again.rollout.selected)
    train_ahead(again, 1)
    rows, wanted = ((each / "stages/zero/metrics.jsonl").read_text() for each in (run_dir, finished))
    assert rows == wanted and json.loads(rows.splitlines()[-1])["critic/grad_norm"] > 0
    for one, other in ((again.learner, expected.learner), (again.learner.critic, expected.learner.critic)):
        assert all(map(torch.equal, one.master.parameters(), other.master.parameters()))


def train_ahead(trainer: rl.Trainer, steps: int) -> rl.Trainer:
    with trainer.checkpoints, trainer.ahead, trainer.rewards:
        for _ in range(steps):
            trainer.advance()
            trainer.save(stopping=False)
    return trainer
