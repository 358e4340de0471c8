"""A run that is followed: its report records, brought up to date from what its files gained."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from r1kit.errors import UserError
from r1kit.report.collect import Row, Run, Stage, outline, read_samples
from r1kit.run_dir import RunDir, StageDir
from r1kit.status.runs import is_run, last_change
from r1kit.status.state import present_stage, run_state, stage_seconds_left, stage_state
from r1kit.watch.columns import StageLog
from r1kit.watch.rollouts import Rollouts

FRESH = 0.5  # seconds for which what was read counts as up to date

Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class StageProgress:
    """A stage in the list of runs."""

    name: str
    kind: str
    state: str
    step: int | None
    steps: int | None
    version: int  # of the curves; 0 without
    rollouts: int  # number of logged steps with completions
    newest: int | None  # step of the newest completions


@dataclass(frozen=True, slots=True)
class Progress:
    """A run in the list of runs."""

    name: str
    dir: str
    state: str  # as `r1kit runs`, or "deleted"
    stage: str | None
    seconds_left: float | None
    changed: float  # seconds since 1970
    rows: int  # version of the logs
    files: int  # version of the other files
    stages: list[StageProgress]


class LiveRun:
    """A run directory that is read again and again, without reading the same rows twice.

    Raises:
        UserError: The directory is not a run.
    """

    def __init__(self, directory: Path) -> None:
        if not is_run(directory):
            reason = "is not a run: it has no recipe.toml" if directory.is_dir() else "no such directory"
            raise UserError(
                f"{directory}: {reason}. Start a run first, with: r1kit run RECIPE, and pass the directory that it "
                "names, such as runs/sprout-zero; r1kit runs lists them"
            )
        self.dir = directory
        self.lock = threading.RLock()  # of `logs`: requests are answered in several threads
        self.run: Run = outline(directory)
        self.logs: dict[str, StageLog] = {}
        self.rollouts: dict[str, Rollouts] = {}
        self.deleted = False
        self._files = RunDir(directory)
        self._outlined: Signature = ()
        self._versions: dict[str, int] = {}  # of each stage's curves
        self._rows = self._outlines = 0  # times that logs, and that other files, have changed
        self._left: tuple[int, float | None] = (-1, None)  # version of the logs, and the seconds left at it
        self._samples: dict[str, tuple[Signature, tuple[Row, ...], int]] = {}
        self._samples_lock = threading.Lock()
        self._read = 0.0

    def refresh(self) -> None:
        """Read what the files gained, unless that was done a moment ago."""
        with self.lock:
            if time.monotonic() - self._read < FRESH:
                return
            try:
                self._refresh_outline()
                for stage in self.run.stages:
                    self._refresh_stage(stage.name)
            except (OSError, UserError):
                if self.dir.is_dir():
                    raise
            self.deleted = not self.dir.is_dir()
            self._read = time.monotonic()

    def _refresh_outline(self) -> None:
        """Read recipe, lineage, artifacts, results and errors again if one of them has changed."""
        signature = _signature(self._outline_files())
        if signature == self._outlined:
            return
        self.run, self._outlined = outline(self.dir), signature
        self._outlines += 1
        for kept in (self.logs, self.rollouts):
            for name in kept.keys() - {stage.name for stage in self.run.stages}:
                kept.pop(name)

    def _outline_files(self) -> list[Path]:
        files = [self._files.recipe, self._files.lineage, self._files.stages]
        for stage in map(self.files_of, (stage.name for stage in self.run.stages)):
            files += [stage.artifact, stage.results, stage.error, stage.samples]
        return files

    def _refresh_stage(self, name: str) -> None:
        log = self.logs.setdefault(name, StageLog(self.files_of(name)))
        if log.refresh():
            self._versions[name] = self._versions.get(name, 0) + 1
            self._rows += 1
        self.rollouts.setdefault(name, Rollouts(self.files_of(name).rollouts)).refresh()

    def files_of(self, stage: str) -> StageDir:
        """Return the directory of a stage."""
        return self._files.stage(stage)

    def with_rows(self) -> Run:
        """Return the run with the rows of its logs that header and warnings read."""
        stages = tuple(replace(stage, metrics=self.logs[stage.name].marked_rows()) for stage in self.run.stages)
        return replace(self.run, stages=stages, notes=(*self.run.notes, *self._log_notes()))

    def with_samples(self) -> Run:
        """Return the run with the answers to benchmarks that a report shows. May take seconds after an evaluation."""
        with self._samples_lock:
            stages = tuple(self._with_samples(stage) for stage in self.run.stages)
        return replace(self.run, stages=stages)

    def _with_samples(self, stage: Stage) -> Stage:
        path = self.files_of(stage.name).samples
        signature = _signature([path])
        known = self._samples.get(stage.name)
        if known is None or known[0] != signature:
            known = self._samples[stage.name] = (signature, *read_samples(path, self.dir, []))
        return replace(stage, samples=known[1], samples_left_out=known[2])

    def kind(self, stage: str) -> str:
        """Return the kind of a stage."""
        return next(each.kind for each in self.run.stages if each.name == stage)

    def _log_notes(self) -> Iterable[str]:
        for name, log in self.logs.items():
            if log.damaged:
                yield f"{log.damaged:,} lines in the logs of stage {name} cannot be read and are left out."
            for metric, (first, count) in log.not_finite.items():
                yield f"{name}: {metric} is NaN or infinite, first at step {first:,.0f}, {count:,} times."

    def progress(self) -> Progress:
        """Bring the run up to date and return how far it has come."""
        with self.lock:
            self.refresh()
            return self._progress()

    def _progress(self) -> Progress:
        states = {stage.name: stage_state(self.files_of(stage.name)) for stage in self.run.stages}
        present = present_stage(states)
        return Progress(
            name=self.run.name,
            dir=str(self.dir),
            state="deleted" if self.deleted else run_state(self._files, states.values()),
            stage=present,
            seconds_left=self._seconds_left(present) if present and states[present] != "done" else None,
            changed=last_change(self._files, states),
            rows=self._rows,
            files=self._outlines,
            stages=[self._stage_progress(stage.name, stage.kind, states[stage.name]) for stage in self.run.stages],
        )

    def _seconds_left(self, name: str) -> float | None:
        if self._left[0] != self._rows:
            config = next(stage.config for stage in self.run.stages if stage.name == name)
            log = self.logs[name]
            left = stage_seconds_left(config, log.rows("time/"), log.last.get("step", 0))
            self._left = (self._rows, left)
        return self._left[1]

    def _stage_progress(self, name: str, kind: str, state: str) -> StageProgress:
        log, rollouts = self.logs[name], self.rollouts[name]
        steps = next(stage.config.get("steps") for stage in self.run.stages if stage.name == name)
        return StageProgress(
            name=name,
            kind=kind,
            state=state,
            step=int(log.last["step"]) if log.last else None,
            steps=steps if isinstance(steps, int) else None,
            version=self._versions.get(name, 0),
            rollouts=len(rollouts.steps),
            newest=rollouts.steps[-1] if rollouts.steps else None,
        )


def _signature(paths: Iterable[Path]) -> Signature:
    """Return what changes when one of these files is written, appears or disappears."""
    known = ((str(path), path.stat()) for path in paths if path.exists())
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in known)
