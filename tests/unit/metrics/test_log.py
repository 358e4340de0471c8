"""The metrics log survives kills, and progress output is readable in a CI log."""

from __future__ import annotations

import json
import math
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit import console
from r1kit.metrics import log


def test_rows_round_trip_as_strict_json(tmp_path: Path) -> None:
    metrics = log.MetricsLog(tmp_path / "deep" / "metrics.jsonl")
    rows = [
        {"step": 1, "loss": 0.1, "at": {"x": [math.inf, -math.inf]}, "text": "a\u2028b\nc"},
        {"step": 2, "loss": math.nan},
    ]
    for row in rows:
        metrics.append(row)
    one, two = log.read_metrics(metrics.path)
    assert one == rows[0] and math.isnan(two["loss"])

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not strict JSON")

    for line in metrics.path.read_bytes().split(b"\n")[:-1]:
        json.loads(line, parse_constant=refuse)


def test_timings_go_to_their_own_file_and_are_merged_on_reading(tmp_path: Path) -> None:
    metrics = log.MetricsLog(tmp_path / "m.jsonl")
    rows = [{"step": 1, "loss": 2.0, "time/step": 0.5}, {"step": 2, "loss": 1.0}]
    for row in rows:
        metrics.append(row)
    assert metrics.path.read_text() == '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n'
    assert (tmp_path / "timings.jsonl").read_text() == '{"step": 1, "time/step": 0.5}\n'
    assert log.read_metrics(metrics.path) == rows


@pytest.mark.parametrize("cut", range(1, 12))
def test_partial_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes((b'{"step": 0}\n' + b'{"step": 1}\n')[:-cut])
    assert log.read_metrics(path) == [{"step": 0}]
    log.MetricsLog(path).append({"step": 1})
    assert log.read_metrics(path) == [{"step": 0}, {"step": 1}]


SCRIPT = """
import time
from r1kit import console as log
log.LINE_SECONDS = 0.05
now = 0.0
time.monotonic = lambda: now
with log.progress("zero", 40) as bar:
    for step in range(40):
        now += 0.01
        if step == 20:
            log.say("a word")
            with log.progress("inner", 2) as inner:
                inner.advance(2)
        bar.advance(accuracy=step / 7)
"""


def test_progress_without_a_terminal_is_a_few_plain_lines() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert done.stdout == "" and "\x1b" not in done.stderr and "\r" not in done.stderr
    assert "a word" in lines and 4 <= len(lines) <= 14
    assert lines[-1].startswith("zero 40/40") and lines[-1].endswith("accuracy 5.571")
    assert all(" elapsed" in line for line in lines if line != "a word")


def test_progress_on_a_terminal_is_a_bar_with_the_time_left() -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stderr=follower, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    )
    os.close(follower)
    output = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # Linux raises EIO when the other end is closed
            break
        if not piece:
            break
        output += piece
    os.close(leader)
    assert process.wait() == 0
    text = output.decode()
    assert "40/40" in text and "eta" in text and "a word" in text and "accuracy 5.571" in text


def test_duration_format() -> None:
    assert [console.duration(s) for s in (0, 59.9, 61, 3723)] == ["0:00", "0:59", "1:01", "1:02:03"]
