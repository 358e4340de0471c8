"""A run that starts, grows, ends, fails, is run again, or is deleted while it is watched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from run_factory import make_run, write_json

from r1kit.errors import UserError
from r1kit.metrics.log import MetricsLog
from r1kit.report.collect import collect
from r1kit.report.sections import warnings
from r1kit.run.lock import locked
from r1kit.run_dir import RunDir
from r1kit.watch import live as module
from r1kit.watch.live import LiveRun, Progress, StageProgress


@pytest.fixture(autouse=True)
def _read_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH", 0.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose stage `zero` is under way."""
    path = make_run(tmp_path / "run", steps=20)
    (path / "stages/zero/artifact.json").unlink()
    shutil.rmtree(path / "stages/after")
    return path


def stage(progress: Progress, name: str) -> StageProgress:
    return next(each for each in progress.stages if each.name == name)


def finish(run: Path, name: str, kind: str) -> None:
    write_json(run / "stages" / name / "artifact.json", {"name": name, "kind": kind, "seconds": 9.0, "parents": {}})


def test_steps_that_are_logged_change_the_versions(run: Path) -> None:
    live = LiveRun(run)
    before = live.progress()
    assert (before.state, before.stage, stage(before, "zero").step) == ("stopped", "zero", 20)
    assert live.progress() == before
    MetricsLog(run / "stages/zero/metrics.jsonl").append({"step": 21, "reward": 1.0, "time/step": 2.0})
    after = live.progress()
    assert stage(after, "zero").step == 21 and stage(after, "zero").version > stage(before, "zero").version
    assert after.rows > before.rows and after.files == before.files


def test_running_stopped_and_time_left(run: Path) -> None:
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("steps = 20", "steps = 30"))
    log = run / "stages/zero/metrics.jsonl"
    log.unlink()
    for step in range(1, 21):
        MetricsLog(log).append({"step": step, "time/rollout": 2.0, "time/update": 1.0, "time/step": 3.0})
    live = LiveRun(run)
    assert live.progress().seconds_left == pytest.approx(10 * 3.0)
    with locked(RunDir(run)):
        assert live.progress().state == "running"
    assert live.progress().state == "stopped"


def test_stage_that_ends_and_the_next_that_starts(run: Path) -> None:
    live = LiveRun(run)
    first = live.progress()
    finish(run, "zero", "rl")
    second = live.progress()
    assert stage(second, "zero").state == "done" and second.stage == "after" and second.files > first.files
    (run / "stages/after").mkdir()
    assert stage(live.progress(), "after").state == "under way"
    finish(run, "after", "evaluate")
    assert live.progress().state == "done" and live.progress().seconds_left is None


def test_failure_is_shown(run: Path) -> None:
    live = LiveRun(run)
    live.progress()
    (run / "stages/zero/error.txt").write_text("Traceback\nRuntimeError: no")
    assert live.progress().state == "failed"
    assert live.with_rows().stages[2].error.endswith("RuntimeError: no")


def test_stage_that_is_run_again(run: Path) -> None:
    live = LiveRun(run)
    before = live.progress()
    shutil.rmtree(run / "stages/zero")
    gone = live.progress()
    assert stage(gone, "zero").step is None and stage(gone, "zero").rollouts == 0
    assert stage(gone, "zero").version > stage(before, "zero").version
    MetricsLog(run / "stages/zero/metrics.jsonl").append({"step": 1, "reward": 0.25})
    assert stage(live.progress(), "zero").step == 1
    assert live.stages["zero"].log.points("reward") == [(1, 0.25)]


def test_deleted_run_keeps_what_was_read(run: Path) -> None:
    live = LiveRun(run)
    live.progress()
    shutil.rmtree(run)
    deleted = live.progress()
    assert deleted.state == "deleted" and deleted.name == "sprout-zero"
    assert len(live.stages["zero"].log.points("reward")) == 20


def test_sections_read_the_same_as_in_the_report(run: Path) -> None:
    log = MetricsLog(run / "stages/zero/metrics.jsonl")
    log.append({"step": 21, "loss": float("nan"), "alerts": {"cut_off": "30 % of the answers"}})
    log.append({"step": 22, "alerts": {"cut_off": "40 % of the answers"}})
    live = LiveRun(run)
    live.refresh()
    assert warnings(live.with_rows().stages) == warnings(collect(run).stages) != []
    assert any("loss is NaN" in note for note in live.with_rows().notes)
    assert live.with_samples().stages[1].samples == collect(run).stages[1].samples != ()


def test_answers_are_read_again_only_when_they_change(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveRun(run)
    live.refresh()
    live.with_samples()
    monkeypatch.setattr(module, "read_samples", lambda *_: pytest.fail("read again"))
    assert live.with_samples().stages[1].samples


def test_directories_that_are_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such directory\. Start a run first"):
        LiveRun(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no recipe"):
        LiveRun(tmp_path)


def test_run_that_has_just_started_has_no_stages_yet(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.toml").write_text('name = "new"\n[stage.zero]\nkind = "rl"\nsteps = 5\n')
    with locked(RunDir(run)):
        live = LiveRun(run)
        progress = live.progress()
        assert (progress.state, progress.stage, stage(progress, "zero").step) == ("running", "zero", None)
        MetricsLog(run / "stages/zero/metrics.jsonl").append({"step": 1, "reward": 0.0})
        assert stage(live.progress(), "zero").step == 1
