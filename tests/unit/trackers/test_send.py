"""Rows, cursors and locks, with a tracker that keeps what it gets in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from tracked_run import STARTED, add_stage, begin_run, evaluate, log_steps

from r1kit.errors import UserError
from r1kit.metrics.log import MetricsLog
from r1kit.run_dir import RunDir
from r1kit.trackers import base, send
from r1kit.trackers.base import Row, TrackedStage
from r1kit.trackers.rows import rows_after


class Memory:
    """A tracker: its own module and all of its runs."""

    PACKAGE = "json"
    last_step: int | None = None

    def __init__(self) -> None:
        self.opened: list[TrackedStage] = []
        self.rows: list[Row] = []
        self.closed: list[bool] = []
        self.fails = False

    def open_run(self, stage: TrackedStage, sent: int) -> Memory:
        self.opened.append(stage)
        return self

    def log(self, rows: Sequence[Row]) -> None:
        if self.fails:
            raise ConnectionError("no network")
        self.rows += rows

    def close(self, is_finished: bool) -> None:
        self.closed.append(is_finished)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    tracker = Memory()
    monkeypatch.setattr(base, "tracker_named", lambda name: tracker)
    monkeypatch.setattr(send, "tracker_named", lambda name: tracker)
    return tracker


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return begin_run(tmp_path / "run")


def test_a_stage_is_described_by_its_config_and_the_settings_of_the_run(run: RunDir, memory: Memory) -> None:
    log_steps(run, 1)
    with send.opened(run, "wandb") as sender:
        sender.send()
    (stage,) = memory.opened
    assert (stage.project, stage.title, stage.folder) == ("tiny", "run/zero", run.path / "trackers/wandb")
    assert stage.config["steps"] == 100 and stage.config["seed"] == 3 and stage.config["stage"] == "zero"
    assert stage.recipe == run.recipe.read_text() and memory.closed == [False]


def test_the_last_row_waits_for_its_timings(run: RunDir) -> None:
    log_steps(run, 1)
    MetricsLog(run.stage("zero").metrics).append({"step": 2, "reward": 0.2})

    def steps(is_over: bool) -> list[int]:
        return [row.step for row in rows_after(-1, run.stage("zero"), STARTED, is_over)]

    assert steps(is_over=False) == [1] and steps(is_over=True) == [1, 2]


def test_rows_have_numbers_alerts_and_the_time_of_their_steps(run: RunDir) -> None:
    log = MetricsLog(run.stage("zero").metrics)
    log.append({"step": 1, "kl": math.inf, "alerts": {"kl": "high"}, "ungraded_reason": "x", "time/step": 3.0})
    log.append({"step": 2, "ok": True, "time/step": 4.0, "time/alerts": {"slow": "y"}})
    first, second = rows_after(-1, run.stage("zero"), "1970-01-01T00:01:00+00:00", is_over=False)
    assert (first.values, first.time) == ({"kl": math.inf, "alerts/kl": 1.0, "time/step": 3.0}, 63.0)
    assert (second.values, second.time) == ({"time/step": 4.0, "alerts/slow": 1.0}, 67.0)


def test_what_failed_is_sent_the_next_time(run: RunDir, memory: Memory) -> None:
    log_steps(run, *range(1, 251))
    with send.opened(run, "wandb") as sender:
        sender.send()
    log_steps(run, 251)
    memory.fails = True
    with pytest.raises(ConnectionError), send.opened(run, "wandb") as sender:
        sender.send()
    memory.fails = False
    with send.opened(run, "wandb") as sender:
        sender.send()
    assert [row.step for row in memory.rows] == [*range(1, 252)]
    assert len({stage.id for stage in memory.opened}) == 1


def test_a_tracker_that_has_less_than_the_cursor_gets_the_rest(run: RunDir, memory: Memory) -> None:
    log_steps(run, 1, 2, 3)
    with send.opened(run, "mlflow") as sender:
        sender.send()
    memory.last_step = 1
    log_steps(run, 4)
    with send.opened(run, "mlflow") as sender:
        sender.send()
    assert [row.step for row in memory.rows] == [1, 2, 3, 2, 3, 4]


def test_a_changed_stage_is_another_run_of_the_tracker(run: RunDir, memory: Memory) -> None:
    log_steps(run, 1, 2)
    with send.opened(run, "wandb") as sender:
        sender.send()
        add_stage(run, "zero", {"kind": "rl"}, identity="second")
        sender.send()
    first, second = memory.opened
    assert first.id != second.id and [row.step for row in memory.rows] == [1, 2, 1, 2]


def test_finished_stages_are_closed_for_good_and_never_opened_again(run: RunDir, memory: Memory) -> None:
    evaluate(run)
    for _ in range(2):
        with send.opened(run, "wandb") as sender:
            sender.send()
    assert memory.closed == [True] and [row.step for row in memory.rows] == [0]


def test_follow_ends_with_what_was_written_last(run: RunDir, memory: Memory) -> None:
    def has_ended(seconds: float) -> bool:
        step = len(memory.rows) + 1
        log_steps(run, step)
        return step == 4

    with send.opened(run, "wandb") as sender:
        sender.follow(has_ended)
    assert [row.step for row in memory.rows] == [1, 2, 3, 4]


def test_one_process_sends_a_run_to_a_tracker(run: RunDir, memory: Memory) -> None:
    with send.opened(run, "wandb"):
        with pytest.raises(UserError, match=r"is being sent to wandb by process \d+ on"), send.opened(run, "wandb"):
            pass
        with send.opened(run, "mlflow"):
            pass


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the directory of a run"), send.opened(RunDir(tmp_path), "wandb"):
        pass


def test_a_folder_named_like_a_package_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no_tracker").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    memory = Memory()
    memory.PACKAGE = "no_tracker"
    monkeypatch.setattr(base, "tracker_named", lambda name: memory)
    assert base.missing_packages(["wandb"]) == ["track: no_tracker is not installed: run pip install 'r1kit[wandb]'"]
    assert json.dumps(base.missing_packages([])) == "[]"
