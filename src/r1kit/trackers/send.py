"""Send a run to one tracker: each step once, however often the run or the sending is interrupted."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from r1kit import files
from r1kit.errors import UserError
from r1kit.run_dir import RunDir
from r1kit.trackers.base import TrackedStage, TrackerRun, missing_packages, tracker_named
from r1kit.trackers.rows import rows_after
from r1kit.types import TrackerName

POLL_SECONDS = 1.0  # between looks at the files of a run
AT_ONCE = 100  # rows that are sent before the cursor moves
SETTINGS = ("recipe", "seed", "device", "processes", "r1kit", "commit")  # of lineage.json, shown with the stage's keys


class Cursor(TypedDict):
    """How much of a stage a tracker has."""

    identity: str  # of the stage: one that was changed is another run of the tracker
    id: str  # of the tracker's run
    step: int
    finished: bool


@contextmanager
def opened(run: RunDir, name: TrackerName, wait: bool = False) -> Iterator[Sender]:
    """Yield what sends a run to a tracker, and close the tracker's runs at the end.

    Args:
        run: The directory of the run.
        name: The tracker.
        wait: Whether to wait for another process that sends this run to this tracker, instead of raising UserError.
    """
    if not run.lineage.is_file():
        raise UserError(f"{run.path} is not the directory of a run: it has no {run.lineage.name}")
    if missing := missing_packages([name]):
        raise UserError(missing[0])
    run.trackers.mkdir(exist_ok=True)
    try:
        with files.locked(run.trackers / f"{name}.lock", wait):
            sender = Sender(run, name)
            try:
                yield sender
            finally:
                sender.close()
    except files.Locked as error:
        raise UserError(f"{run.path} is being sent to {name} by {error}: wait until it ends") from None


class Sender:
    """Sends the stages of a run to one tracker. Its cursors are a file, so that the next one continues."""

    def __init__(self, run: RunDir, name: TrackerName) -> None:
        self.run, self.name, self.module = run, name, tracker_named(name)
        self.path, self.folder = run.trackers / f"{name}.json", run.trackers / name
        self.cursors: dict[str, Cursor] = files.read_json(self.path) if self.path.is_file() else {}
        self.runs: dict[str, TrackerRun] = {}  # that are open, by stage

    def follow(self, has_ended: Callable[[float], bool]) -> None:
        """Send until the run has ended; `has_ended` waits for that for the given seconds."""
        while not has_ended(POLL_SECONDS):
            self.send(is_over=False)
        self.send(is_over=True)

    def send(self, is_over: bool = True) -> dict[str, int]:
        """Send what is new; return how many rows of each stage. `is_over` says that nothing writes any more."""
        lineage = files.read_json(self.run.lineage)
        return {stage: self._send_stage(stage, lineage, is_over) for stage in lineage["stages"]}

    def close(self) -> None:
        """End the open runs for now."""
        for stage in [*self.runs]:
            self._close(stage, is_finished=False)

    def _send_stage(self, stage: str, lineage: Mapping[str, Any], is_over: bool) -> int:
        record, directory = lineage["stages"][stage], self.run.stage(stage)
        cursor = self.cursors.get(stage)
        if cursor is None or cursor["identity"] != record["identity"]:
            self._close(stage, is_finished=False)
            cursor = Cursor(identity=record["identity"], id=uuid.uuid4().hex[:12], step=-1, finished=False)
        is_finished = directory.is_finished
        is_over |= is_finished
        if cursor["finished"] or not (is_finished or rows_after(cursor["step"], directory, record["started"], is_over)):
            return 0
        if stage not in self.runs:
            self._open(stage, cursor, lineage)
        rows = rows_after(cursor["step"], directory, record["started"], is_over)
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            self.runs[stage].log(part)
            cursor["step"] = part[-1].step
            self._save(stage, cursor)
        if is_finished:
            self._close(stage, is_finished=True)
            cursor["finished"] = True
            self._save(stage, cursor)
        return len(rows)

    def _open(self, stage: str, cursor: Cursor, lineage: Mapping[str, Any]) -> None:
        """Start or continue the tracker's run of a stage. Where the tracker tells what it has, the cursor follows."""
        self._save(stage, cursor)  # first: without the id, the tracker's run could not be continued
        settings = {key: lineage.get(key) for key in SETTINGS}
        record = lineage["stages"][stage]
        about = TrackedStage(
            project=lineage["recipe"],
            run=self.run.path.resolve().name,
            name=stage,
            id=cursor["id"],
            config=settings | {"stage": stage, "identity": record["identity"]} | record["config"],
            recipe=self.run.recipe.read_text(encoding="utf-8"),
            folder=self.folder,
        )
        self.runs[stage] = self.module.open_run(about, cursor["step"])
        last = self.runs[stage].last_step
        cursor["step"] = cursor["step"] if last is None else last

    def _close(self, stage: str, is_finished: bool) -> None:
        if (tracker := self.runs.pop(stage, None)) is not None:
            tracker.close(is_finished)

    def _save(self, stage: str, cursor: Cursor) -> None:
        self.cursors[stage] = cursor
        files.write_json(self.path, self.cursors)


def show(run: Path, name: TrackerName) -> str:
    """Return how to look at what a tracker has of a run."""
    return tracker_named(name).where(RunDir(run).trackers / name)
