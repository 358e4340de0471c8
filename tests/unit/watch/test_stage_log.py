"""The metrics of a stage in memory, as its logs grow, are truncated, or damaged."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import pytest

from r1kit.metrics.log import MetricsLog, read_metrics
from r1kit.run_dir import StageDir
from r1kit.watch.stage_log import StageLog


@pytest.fixture
def stage(tmp_path: Path) -> StageDir:
    return StageDir(tmp_path / "zero")


def row(step: int, reward: float = 0.5) -> dict[str, object]:
    return {"step": step, "reward": reward, "time/step": 2.0}


def test_rows_and_timings_are_merged_as_they_are_logged(stage: StageDir) -> None:
    writer, log = MetricsLog(stage.metrics), StageLog(stage)
    assert not log.refresh() and log.metrics == []
    for step in (1, 2):
        writer.append(row(step, reward=step / 10))
    assert log.refresh() and not log.refresh()
    writer.append({"step": 3, "kl": 0.1})
    assert log.refresh()
    assert log.points("reward") == [(1, 0.1), (2, 0.2)] and log.points("kl") == [(3, 0.1)]
    assert log.points("time/step") == [(1, 2.0), (2, 2.0)]
    assert log.last["step"] == 3 and list(log.rows("time/")) == [{"step": step, "time/step": 2.0} for step in (1, 2)]


def test_values_equal_those_that_the_report_reads(stage: StageDir) -> None:
    writer, log = MetricsLog(stage.metrics), StageLog(stage)
    for step in range(1, 40):
        writer.append({**row(step, reward=step / 7), **({"eval/sums/pass@1": step / 40} if step % 10 == 0 else {})})
        log.refresh()
    rows = read_metrics(stage.metrics)
    for metric in ("reward", "eval/sums/pass@1", "time/step"):
        assert log.points(metric) == [(r["step"], r[metric]) for r in rows if metric in r]


def test_resumed_run_replaces_what_it_truncates(stage: StageDir) -> None:
    writer, log = MetricsLog(stage.metrics), StageLog(stage)
    lengths = {}
    for step in range(1, 7):
        writer.append(row(step))
        lengths[step] = [file.stat().st_size for file in writer.files]
    log.refresh()
    for file, length in zip(writer.files, lengths[3], strict=True):
        os.truncate(file, length)
    assert log.refresh() and [step for step, _ in log.points("reward")] == [1, 2, 3] and log.last["step"] == 3
    writer.append(row(4, reward=0.75))
    log.refresh()
    assert log.points("reward")[-1] == (4, 0.75)


def test_truncation_and_new_rows_between_two_looks_are_noticed(stage: StageDir) -> None:
    """metrics.jsonl may be the same again, byte by byte; the timings tell."""
    writer, log = MetricsLog(stage.metrics), StageLog(stage)
    for step in range(1, 7):
        writer.append(row(step))
    log.refresh()
    for file in writer.files:
        os.truncate(file, file.stat().st_size // 2)
    writer = MetricsLog(stage.metrics)
    done = read_metrics(stage.metrics)[-1]["step"]
    for step in range(done + 1, 9):
        writer.append(row(step) | {"time/step": 3.0})
    log.refresh()
    assert [step for step, _ in log.points("reward")] == list(range(1, 9))
    assert log.points("time/step")[-1] == (8, 3.0) and log.points("time/step")[0] == (1, 2.0)


def test_step_logged_twice_counts_once(stage: StageDir) -> None:
    writer, log = MetricsLog(stage.metrics), StageLog(stage)
    for reward in (0.1, 0.2):
        writer.append(row(1, reward))
    log.refresh()
    assert log.points("reward") == [(1, 0.2)]


def test_stage_that_is_deleted_and_starts_again(stage: StageDir) -> None:
    writer, log = MetricsLog(stage.metrics), StageLog(stage)
    writer.append(row(1))
    log.refresh()
    for file in writer.files:
        file.unlink()
    assert log.refresh() and log.metrics == [] and log.marked_rows() == ()
    writer.append(row(1, 0.9))
    assert log.refresh() and log.points("reward") == [(1, 0.9)]


def test_alerts_and_values_that_are_not_finite_are_kept(stage: StageDir) -> None:
    writer, log = MetricsLog(stage.metrics), StageLog(stage)
    writer.append({"step": 1, "loss": float("nan"), "alerts": {"cut_off": "too long"}})
    writer.append({"step": 2, "loss": float("inf"), "time/alerts": {"starved": "slow"}})
    writer.append({"step": 3, "loss": 0.5})
    log.refresh()
    assert log.not_finite == {"loss": (1, 2)} and log.points("loss") == [(3, 0.5)]
    first, second, last = log.marked_rows()
    assert first == {"step": 1, "alerts": {"cut_off": "too long"}}
    assert second == {"step": 2, "time/alerts": {"starved": "slow"}} and last == {"step": 3, "loss": 0.5}


def test_damaged_lines_are_left_out(stage: StageDir) -> None:
    stage.path.mkdir()
    stage.metrics.write_text('{"step": 1, "reward": 1}\n{"ste\n{"reward": 3}\n{"step": 2, "reward": "high"}\n')
    log = StageLog(stage)
    log.refresh()
    assert log.damaged == 1 and log.points("reward") == [(1, 1.0)] and list(log.steps) == [1, 2]


@pytest.mark.slow
def test_ten_thousand_steps_take_little_memory_and_polling_takes_none(stage: StageDir) -> None:
    stage.path.mkdir()
    metrics = {f"metric/{i}": 0.123456 for i in range(60)}
    with stage.metrics.open("w") as file:
        file.writelines(json.dumps({"step": step, **metrics}) + "\n" for step in range(1, 10_001))
    tracemalloc.start()
    log = StageLog(stage)
    log.refresh()
    first, _ = tracemalloc.get_traced_memory()
    for _ in range(50):
        assert not log.refresh()
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first < 12_000_000 and now - first < 20_000 and peak < 16_000_000
