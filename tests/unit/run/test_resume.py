"""Killed, interrupted and concurrent processes."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from tiny_run import contents, run_killed, start_command

from r1kit.config import Recipe
from r1kit.run import pipeline


def wait_for(path: str, process: subprocess.Popen[str]) -> None:
    while not Path(path).exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.slow
def test_run_killed_at_random_times_ends_in_the_same_bytes(recipe: Recipe) -> None:
    pipeline.run(recipe, "undisturbed")
    run_killed("killed")
    undisturbed, killed = contents("undisturbed"), contents("killed")
    assert undisturbed.keys() == killed.keys()
    different = [name for name in undisturbed if undisturbed[name] != killed[name]]
    assert different == ["recipe.toml"], "only learning_rate, which is the time a step takes"


@pytest.mark.slow
def test_sigterm_reports_how_to_continue(recipe: Recipe) -> None:
    process = start_command("run", "--set", "stage.zero.learning_rate=0.3")
    wait_for("run/stages/zero/checkpoints/step_00000002", process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "interrupted in stage zero; run the same command again to continue from its last checkpoint" in errors
    assert "Traceback" not in errors
    again = start_command("run", "--no-report", "--set", "stage.zero.learning_rate=0.3")
    _, errors = again.communicate(timeout=300)
    assert len(Path("run/stages/zero/metrics.jsonl").read_text().splitlines()) == 12
    assert Path("run/stages/eval/artifact.json").exists(), errors


@pytest.mark.slow
def test_lock_refuses_a_second_process_and_is_released_by_sigkill(recipe: Recipe) -> None:
    slow = ("--no-report", "--set", "stage.zero.learning_rate=0.2")
    first = start_command("run", *slow)
    wait_for("run/stages/zero/metrics.jsonl", first)
    first.send_signal(signal.SIGSTOP)  # so that it does not end before the second one starts
    _, errors = (second := start_command("run", *slow)).communicate(timeout=300)
    assert second.returncode == 2 and f"in use by process {first.pid} on " in errors and "--run-dir" in errors
    first.kill()
    first.communicate()
    _, errors = (third := start_command("run", *slow)).communicate(timeout=300)
    assert third.returncode == 0, errors
