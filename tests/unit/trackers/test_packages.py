"""Each tracker's own package gets every step once, and reads back what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tracked_run import READERS, add_stage, begin_run, evaluate, log_steps

from r1kit.trackers import send
from r1kit.trackers.base import missing_packages

pytestmark = pytest.mark.slow


@pytest.fixture(params=READERS)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tracker whose package is installed, set to write below a temporary directory and to send nothing."""
    if missing := missing_packages([request.param]):
        pytest.skip(missing[0])
    if request.param == "tensorboard":
        pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    if request.param == "trackio":
        monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    yield str(request.param)
    if request.param == "wandb":
        import wandb

        wandb.teardown()  # it would keep this directory in the next test


def test_every_step_arrives_once_however_often_it_is_sent(name: str, tmp_path: Path) -> None:
    run = begin_run(tmp_path / "run")
    log_steps(run, 0, 1, 2)
    with send.opened(run, name) as sender:
        assert sender.send() == {"zero": 3}
        log_steps(run, 3)
        assert sender.send() == {"zero": 1}
    log_steps(run, 4, 5)
    run.stage("zero").artifact.write_text("{}")
    evaluate(run)
    with send.opened(run, name) as sender:
        assert sender.send() == {"zero": 2, "eval": 1}
        assert sender.send() == {"zero": 0, "eval": 0}
    with send.opened(run, name) as sender:
        assert sender.send() == {"zero": 0, "eval": 0}
    seen = READERS[name](run)
    assert seen["zero"] == {
        step: {"reward": step / 10, "eval/sums/pass@1": 0.25, "time/step": 2.0} for step in range(6)
    }
    assert seen["eval"] == {0: {"sums/pass@1": 0.5, "sums/pass@1/ci95_low": 0.4, "sums/pass@1/ci95_high": 0.6}}


def test_a_stage_that_is_run_again_is_shown_with_its_new_steps_only_or_as_another_run(
    name: str, tmp_path: Path
) -> None:
    run = begin_run(tmp_path / "run")
    log_steps(run, 1, 2)
    with send.opened(run, name) as sender:
        sender.send()
    run.stage("zero").metrics.unlink()
    run.stage("zero").timings.unlink()
    add_stage(run, "zero", {"kind": "rl", "steps": 7}, identity="second")
    log_steps(run, 1)
    with send.opened(run, name) as sender:
        assert sender.send() == {"zero": 1}
    if name == "tensorboard":
        assert READERS[name](run)["zero"].keys() == {1}
    else:
        with pytest.raises(AssertionError, match="twice at step 1"):  # once in each of two runs
            READERS[name](run)


def test_mlflow_is_asked_what_it_has(name: str, tmp_path: Path) -> None:
    if name != "mlflow":
        pytest.skip("the others are not asked")
    run = begin_run(tmp_path / "run")
    log_steps(run, 1, 2, 3)
    with send.opened(run, name) as sender:
        sender.send()
        sender.cursors["zero"]["step"] = 1  # as if the process had been killed before it saved the cursor
        sender._save("zero", sender.cursors["zero"])
    with send.opened(run, name) as sender:
        log_steps(run, 4)
        sender.send()
    assert READERS[name](run)["zero"].keys() == {1, 2, 3, 4}


def test_tensorboard_ignores_what_a_killed_process_wrote(name: str, tmp_path: Path) -> None:
    if name != "tensorboard":
        pytest.skip("the others have no files to continue")
    run = begin_run(tmp_path / "run")
    log_steps(run, 1, 2, 3)
    with send.opened(run, name) as sender:
        sender.send()
        sender.cursors["zero"]["step"] = 1
        sender._save("zero", sender.cursors["zero"])
    with send.opened(run, name) as sender:
        assert sender.send() == {"zero": 2}
    assert READERS[name](run)["zero"].keys() == {1, 2, 3}
