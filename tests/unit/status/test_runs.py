"""How far runs have come: running, stopped, failed, done, damaged, and many at once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console
from run_factory import make_run
from typer.testing import CliRunner

from r1kit import cli
from r1kit.errors import UserError
from r1kit.metrics.log import MetricsLog
from r1kit.run.lock import locked
from r1kit.run_dir import RunDir
from r1kit.status.runs import find_runs, read_status
from r1kit.status.state import is_locked, present_stage
from r1kit.status.table import ago, runs_table


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "zero", steps=40)


def unfinish(run: Path, *stages: str) -> None:
    """Take back what these stages published."""
    for stage in stages:
        (run / "stages" / stage / "artifact.json").unlink()


def test_done_run(run: Path) -> None:
    status = read_status(run)
    assert (status.state, status.recipe, status.stage) == ("done", "sprout-zero", "after")
    assert (status.stages_done, status.stages, status.seconds_left) == (4, 4, None)
    results = json.loads((run / "stages/after/data/results.json").read_text())
    assert status.best is not None and status.best.stage == "after" and status.best.benchmark == "held-out"
    assert status.best.value == results["benchmarks"]["held-out"]["pass@1"]
    assert 0 <= time.time() - status.changed < 60


def test_stage_under_way_has_step_and_time_left(run: Path) -> None:
    unfinish(run, "zero")
    shutil.rmtree(run / "stages/after")
    log = run / "stages/zero/metrics.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:30]) + '{"step": 31, "rew')
    timings = [{"step": step, "time/rollout": 2.0, "time/update": 1.0, "time/step": 3.0} for step in range(1, 31)]
    (run / "stages/zero/timings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in timings))
    status = read_status(run)
    assert (status.state, status.stage, status.step, status.steps) == ("stopped", "zero", 30, 40)
    assert status.seconds_left == pytest.approx(10 * 3.0)
    assert (status.stages_done, status.stages) == (2, 4)


def test_running_is_known_from_the_lock_and_looking_does_not_disturb_it(run: Path) -> None:
    unfinish(run, "after")
    assert read_status(run).state == "stopped"
    with locked(RunDir(run)):
        assert is_locked(RunDir(run)) and read_status(run).state == "running"
        with pytest.raises(UserError, match="in use by process"), locked(RunDir(run)):
            pass
    assert read_status(run).state == "stopped"


def test_run_can_start_while_somebody_looks_at_its_lock(run: Path) -> None:
    lock = RunDir(run).lock
    lock.touch()
    with open(lock, "rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        timer = threading.Timer(0.08, fcntl.flock, (handle, fcntl.LOCK_UN))
        timer.start()
        with locked(RunDir(run)):
            assert f"process {os.getpid()}" in lock.read_text()
        timer.join()


def test_failed_run(run: Path) -> None:
    unfinish(run, "zero", "after")
    (run / "stages/zero/error.txt").write_text("Traceback")
    shutil.rmtree(run / "stages/after")
    status = read_status(run)
    assert (status.state, status.stage) == ("failed", "zero")


def test_best_score_is_of_the_benchmark_that_most_stages_measured(run: Path) -> None:
    results = run / "stages/before/data/results.json"
    value = json.loads(results.read_text())
    value["benchmarks"] = {"easy": {"pass@1": 1.0}, **value["benchmarks"]}
    results.write_text(json.dumps(value))
    assert read_status(run).best.benchmark == "held-out"
    for stage in ("before", "after"):
        (run / "stages" / stage / "data/results.json").unlink()
    best = read_status(run).best
    assert (best.benchmark, best.stage) == ("arithmetic", "zero"), "from the curve of the RL stage"
    assert best.value == max(
        row["eval/arithmetic/pass@1"]
        for row in map(json.loads, (run / "stages/zero/metrics.jsonl").open())
        if "eval/arithmetic/pass@1" in row
    )


@pytest.mark.parametrize("text", ["", "not [toml", "name = 3\nstage = 4\n"])
def test_damaged_recipe_is_listed(run: Path, text: str) -> None:
    (run / "recipe.toml").write_text(text)
    status = read_status(run)
    assert (status.stage, status.stages, status.best) == (None, 0, None)


def test_present_stage() -> None:
    assert present_stage({"a": "done", "b": "under way", "c": "not started"}) == "b"
    assert present_stage({"a": "done", "b": "not started", "c": "not started"}) == "b"
    assert present_stage({"a": "done", "b": "done"}) == "b"
    assert present_stage({}) is None


def test_runs_are_looked_for_two_levels_deep(run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / ".hidden").mkdir()
    shutil.copytree(run, tmp_path / "runs" / "seeds" / "0")
    assert find_runs([tmp_path / "runs"]) == [tmp_path / "runs/seeds/0", run]
    assert find_runs([run, tmp_path / "runs"]) == [run, tmp_path / "runs/seeds/0"]
    with pytest.raises(UserError, match="no such directory"):
        find_runs([tmp_path / "nowhere"])


@pytest.mark.slow
def test_a_hundred_runs_are_listed_in_seconds(run: Path, tmp_path: Path) -> None:
    unfinish(run, "zero")
    shutil.rmtree(run / "stages/after")
    log = MetricsLog(run / "stages/zero/metrics.jsonl")
    for step in range(41, 1000):
        log.append({"step": step, "time/step": 1.0, **{f"metric/{i}": 0.123456789 for i in range(40)}})
    for i in range(99):
        shutil.copytree(run, tmp_path / "runs" / f"copy-{i}")
    start = time.process_time()
    statuses = [read_status(directory) for directory in find_runs([tmp_path / "runs"])]
    assert len(statuses) == 100 and {status.step for status in statuses} == {999}
    assert time.process_time() - start < 3


def test_command_prints_a_table_and_json(run: Path) -> None:
    result = CliRunner().invoke(cli.app, ["runs", str(run.parent), "--json"])
    (status,) = json.loads(result.stdout)["runs"]
    assert status["dir"] == str(run) and status["best"]["stage"] == "after"
    result = CliRunner().invoke(cli.app, ["runs", str(run.parent)], env={"COLUMNS": "300"})
    assert "sprout-zero" in result.stdout and "done" in result.stdout and "4/4 after" in result.stdout


def test_table_shows_steps_and_age(run: Path) -> None:
    unfinish(run, "zero", "after")
    shutil.rmtree(run / "stages/after")
    status = read_status(run)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(runs_table([status], status.changed + 7300))
    assert "40/40" in captured.get() and "2 h ago" in captured.get()
    assert [ago(seconds) for seconds in (3, 60, 90_000)] == ["now", "1 min ago", "1 d ago"]
