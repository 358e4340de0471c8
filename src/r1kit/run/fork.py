"""Start a run from the finished stages of another (`--fork`)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from r1kit import files
from r1kit.console import say
from r1kit.errors import UserError
from r1kit.run.changes import recorded_inputs
from r1kit.run.resolve import ResolvedStage
from r1kit.run_dir import RunDir


def fork(stages: Sequence[ResolvedStage], old: RunDir, new: RunDir) -> None:
    """Copy the finished stages of `old` that the recipe leaves unchanged to `new`, without their checkpoints.

    Files are hard links where the file system supports them: finished stages are never written to.

    Raises:
        UserError: `old` is not a run, or is the same directory as `new`.
    """
    is_same = new.path.resolve() == old.path.resolve()
    if is_same or not old.lineage.is_file():
        fault = "is the same directory" if is_same else "holds no run"
        advice = "give the run to fork from as --run-dir and a new directory as --fork"
        raise UserError(f"--fork {new.path}: --run-dir {old.path} {fault}; {advice}")
    origin = files.read_json(old.lineage)
    start = {**origin, "forked_from": str(old.path.resolve()), "stages": {}, "changes": []}
    lineage = files.read_json(new.lineage) if new.lineage.is_file() else start
    for stage in stages:
        source, target = old.stage(stage.name), new.stage(stage.name).path
        if target.exists() or not source.is_finished:
            continue
        recorded = recorded_inputs(old, stage.name)
        if recorded is None or recorded["identity"] != stage.identity:
            continue
        temporary = target.with_name(f".{stage.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        ignore = shutil.ignore_patterns(source.checkpoints.name, ".*")
        shutil.copytree(source.path, temporary, copy_function=files.link_or_copy, ignore=ignore)
        files.publish(temporary, target)
        lineage["stages"][stage.name] = origin["stages"][stage.name]
        say(f"{stage.name}: reused from {old.path}")
    files.write_json(new.lineage, lineage)
