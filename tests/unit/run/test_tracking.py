"""A tracker follows a run without changing it, whatever happens to either of them."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from tiny_run import RECIPE, contents, start_command
from tracked_run import tensorboard_steps, wait_until_sent

from r1kit.config import Recipe
from r1kit.recipe import load_recipe
from r1kit.run import pipeline, preflight
from r1kit.run.resolve import resolve_stages
from r1kit.run_dir import RunDir

TRACKED = ("--no-report", "--set", 'track=["tensorboard"]')
BROKEN = "import sys\nclass SummaryWriter:\n    def __init__(self, *_, **__): raise OSError('no space')\n"


@pytest.fixture
def tracked(recipe: Recipe) -> Recipe:
    pytest.importorskip("tensorboard")
    pytest.importorskip("tensorboardX")
    Path("tiny.toml").write_text(f'track = ["tensorboard"]\n{RECIPE}')
    return load_recipe("tiny.toml")


@pytest.mark.slow
def test_a_tracked_run_writes_the_same_files_and_is_shown_completely(tracked: Recipe) -> None:
    plain = pipeline.run(tracked.model_copy(update={"track": []}), "plain")
    result = pipeline.run(tracked, "tracked")
    wait_until_sent(RunDir(result.dir), "tensorboard", "zero", "more", "eval")
    seen = tensorboard_steps(RunDir(result.dir))
    assert seen["zero"].keys() == {*range(1, 13)} and seen["more"].keys() == {1, 2, 3, 4} and "eval" in seen
    before, after = contents(plain.dir), contents(result.dir)
    assert [name for name in before if before[name] != after[name]] == ["recipe.toml"]


@pytest.mark.slow
def test_trackers_enter_no_identity(tracked: Recipe) -> None:
    other = tracked.model_copy(update={"track": []})
    assert [s.identity for s in resolve_stages(tracked, "float32")] == [
        s.identity for s in resolve_stages(other, "float32")
    ]


@pytest.mark.slow
def test_a_killed_run_is_continued_in_the_same_event_files(tracked: Recipe) -> None:
    first = start_command("run", *TRACKED, "--set", "stage.zero.learning_rate=0.3")
    checkpoints = Path("run/stages/zero/checkpoints")
    while not [*checkpoints.glob("step_*")]:
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, errors = (second := start_command("run", *TRACKED, "--set", "stage.zero.learning_rate=0.3")).communicate()
    assert second.returncode == 0, errors
    wait_until_sent(RunDir(Path("run")), "tensorboard", "zero")
    assert tensorboard_steps(RunDir(Path("run")))["zero"].keys() == {*range(1, 13)}


@pytest.mark.slow
def test_a_tracker_that_fails_is_named_once_and_the_run_goes_on(
    tracked: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorboardX.py").write_text(BROKEN)
    process = start_command("run", *TRACKED)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert errors.count("tensorboard: error: unexpected OSError: no space") == 1
    assert errors.count("warning: tensorboard gets no more of this run") == 1
    assert "r1kit track run --to tensorboard" in errors


def test_a_missing_package_is_found_before_anything_runs(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r1kit.trackers.wandb.PACKAGE", "no_such_package")
    changed = recipe.model_copy(update={"track": ["wandb"]})
    with pytest.raises(preflight.RecipeError, match=r"run pip install 'r1kit\[wandb\]'"):
        pipeline.run(changed, "run")
    assert not Path("run/stages").exists()
