"""Rewards that hang, end their process, overflow or raise, in `r1kit run`: the terminal says at once which and why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import r1kit

REWARDS = """
import os, sys, time

def sleeps(problem, text): time.sleep(60)
def exits(problem, text): os._exit(3)
def calls_exit(problem, text): sys.exit(4)
def huge(problem, text): return 10**400
def raises(problem, text): return 1 / 0
"""
RECIPE = """
name = "own"
reward_workers = 1
reward_timeout = 3.0
[stage.zero]
kind = "rl"
model = "sprout-base"
prompts = [{{ source = "world:arithmetic", limit = 8 }}]
rewards = {{ "faulty:{reward}" = 1.0 }}
steps = 2
steps_per_rollout = 1
prompts_per_step = 2
num_generations = 6
max_completion_length = 16
"""
RUN = """
import sys
from r1kit import console
console.HEARTBEAT_SECONDS, console.HEARTBEAT_LIMIT = 0.5, 0.5
from r1kit.cli import main
sys.argv[1:] = ["run", "own.toml"]
main()
"""


def run(directory: Path, reward: str) -> str:
    """Run a recipe with a faulty reward until it fails, and return its log."""
    (directory / "faulty.py").write_text(REWARDS)
    (directory / "own.toml").write_text(RECIPE.format(reward=reward))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(r1kit.__file__).parents[1])}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "could not be scored" in done.stderr
    return done.stderr


def test_reward_that_hangs_is_named_while_it_hangs(tmp_path: Path) -> None:
    """Say which reward, which question, how long, and what happens next, long before the process is killed."""
    log = run(tmp_path, "sleeps")
    line = r"still grading: reward faulty:sleeps, question '.+': 0:0\d so far, after 0:03 it is killed"
    assert re.search(line + r" and its completion is masked \(see reward_timeout\); \d+ more to do", log), log
    assert re.search(r"warning: worker process killed: no answer within 3 seconds: reward faulty:sleeps, question", log)
    assert "3 of 3 completions could not be scored" in log, "it does not wait for the others to hang"


def test_reward_that_ends_its_process_is_named_at_the_first_death(tmp_path: Path) -> None:
    log = run(tmp_path, "exits")
    cause = r"warning: worker process died \(exit code 3\): reward faulty:exits, question '.+'; "
    assert re.search(cause + "trying once more in a new process", log), log
    assert re.search(cause + "its completion is masked", log)
    assert log.count("trying once more") == 1, "further deaths are only counted"


@pytest.mark.parametrize(
    ("reward", "reason"),
    [
        ("huge", r"faulty:huge returned an integer of 1329 bits, too large for a float for problem \w+, question '.+'"),
        ("calls_exit", r"faulty:calls_exit failed on problem \w+, question '.+': SystemExit: 4"),
        ("raises", r"faulty:raises failed on problem \w+, question '.+': ZeroDivisionError: division by zero"),
    ],
)
def test_reward_without_a_number_is_named_at_its_first_failure(tmp_path: Path, reward: str, reason: str) -> None:
    log = run(tmp_path, reward)
    assert re.search(rf"warning: reward {reason}.*; its completion is masked", log), log
    assert re.search(rf"(?s)could not be scored.*reward {reason}", log), "the error repeats the first cause"
    if reward == "raises":
        assert re.search(r"faulty.py, line \d+: def raises", log), "the line of the user's code is shown"
