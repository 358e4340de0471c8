"""A small sweep; `make crashtest N=100` runs a large one. It forks, so it needs a process with one thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SWEEP = Path(__file__).with_name("sweep.py")


AHEAD = ("--set", "stage.zero.rollouts_ahead=1")
EPISODES = ("--set", "stage.zero.environment=crash_rewards:echo")
PPO = ("--set", 'stage.zero.objective="ppo"', "--set", "stage.zero.critic={ learning_rate = 3e-3 }")
BEST_RL = ("--set", "stage.zero.best_metric=eval/sums/format_rate")
BEST_SFT = ("--set", "stage.taught.best_metric=eval/loss")


def amended(stage: str, **keys: object) -> tuple[str, ...]:
    """Arguments that amend a half-done stage."""
    return (
        "--amend",
        stage,
        *(word for key, value in keys.items() for word in ("--set", f"stage.{stage}.{key}={value}")),
    )


AMENDED_RL = amended("zero", steps=7, learning_rate=3e-3, num_generations=3, eval_every=1, steps_per_rollout=3)
AMENDED_SFT = amended("taught", epochs=2, sequences_per_step=3, learning_rate=1e-3)


@pytest.mark.parametrize(
    ("by", "n", "changes"),
    [
        ("kill", 5, ()),
        ("kill", 3, AHEAD),
        ("kill", 7, EPISODES),
        pytest.param("kill", 9, (*EPISODES, *AHEAD), marks=pytest.mark.long),
        ("kill", 3, PPO),
        pytest.param("kill", 9, (*PPO, *AHEAD), marks=pytest.mark.long),
        ("kill", 4, (*AMENDED_RL, *BEST_RL)),
        pytest.param("kill", 9, (*AMENDED_RL, *AHEAD), marks=pytest.mark.long),
        pytest.param("kill", 9, AMENDED_SFT, marks=pytest.mark.long),
        pytest.param("kill", 9, (*BEST_RL, *BEST_SFT), marks=pytest.mark.long),
        pytest.param("stop", 2, (), marks=pytest.mark.long),
        pytest.param("stop", 3, AHEAD, marks=pytest.mark.long),
    ],
)
def test_disturbed_runs_are_identical_to_undisturbed_ones(
    tmp_path: Path, by: str, n: int, changes: tuple[str, ...]
) -> None:
    command = [sys.executable, SWEEP, "-n", str(n), "--by", by, "--world", tmp_path, *changes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"crashtest: {n}/{n} identical"
