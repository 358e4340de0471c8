"""Which stages count as finished or started."""

from __future__ import annotations

from pathlib import Path

from r1kit.run_dir import RunDir


def test_stage_is_finished_when_its_artifact_exists(tmp_path: Path) -> None:
    stage = RunDir(tmp_path).stage("zero")
    assert stage.path == tmp_path / "stages" / "zero" and not stage.is_finished and not stage.has_progress
    stage.path.mkdir(parents=True)
    stage.error.write_text("Traceback")
    assert not stage.has_progress, "it failed at its start"
    stage.metrics.write_text("{}\n")
    assert stage.has_progress and not stage.is_finished
    stage.artifact.write_text("{}")
    assert stage.is_finished


def test_published_files_lie_in_the_stages_output(tmp_path: Path) -> None:
    stage = RunDir(tmp_path).stage("zero")
    assert {stage.records.parent, stage.results.parent, stage.samples.parent} == {stage.data}
