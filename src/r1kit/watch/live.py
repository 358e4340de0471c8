"""Runs that are followed: their report records, brought up to date from what their files gained."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from r1kit.errors import UserError
from r1kit.report.collect import Row, Run, Stage, outline, read_samples
from r1kit.run_dir import RunDir, StageDir
from r1kit.status.runs import is_run, last_change
from r1kit.status.state import StageState, present_stage, run_state, stage_seconds_left, stage_state
from r1kit.watch.rollouts import Rollouts
from r1kit.watch.stage_log import StageLog

FRESH = 0.5  # seconds for which what was read counts as up to date

Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class StageProgress:
    """A stage in the list of runs."""

    name: str
    kind: str
    state: StageState
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


class LiveStage:
    """The logs of a stage: metrics, rollouts, and answers to benchmarks."""

    def __init__(self, files: StageDir) -> None:
        self.files = files
        self.log, self.rollouts = StageLog(files), Rollouts(files.rollouts)
        self.version = 0  # of the metrics
        self._samples: tuple[Signature, tuple[Row, ...], int] | None = None
        self._left: tuple[int, float | None] = (-1, None)  # version, and the seconds left at it

    def refresh(self) -> None:
        """Read what metrics and rollouts gained."""
        self.version += self.log.refresh()
        self.rollouts.refresh()

    def samples(self, run_dir: Path) -> tuple[tuple[Row, ...], int]:
        """Return the answers to benchmarks that a report shows, and the number of others."""
        signature = _signature([self.files.samples])
        if self._samples is None or self._samples[0] != signature:
            self._samples = (signature, *read_samples(self.files.samples, run_dir, []))
        return self._samples[1:]

    def seconds_left(self, config: Mapping[str, object]) -> float | None:
        """Estimate the seconds that the stage still needs."""
        if self._left[0] != self.version:
            left = stage_seconds_left(config, self.log.rows("time/"), self.log.last.get("step", 0))
            self._left = (self.version, left)
        return self._left[1]


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
        self.run = outline(directory)
        self.stages: dict[str, LiveStage] = {}
        self.lock = threading.RLock()  # of the logs: requests are answered in several threads
        self._files = RunDir(directory)
        self._outlined: Signature = ()
        self._outlines = 0  # times that files other than logs have changed
        self._samples_lock = threading.Lock()
        self._read = 0.0

    def refresh(self) -> None:
        """Read what the files gained, unless that was done a moment ago.

        A deleted run stays as it was read. UserError or OSError for a directory that is no run any more.
        """
        with self.lock:
            if time.monotonic() - self._read < FRESH:
                return
            try:
                self._refresh_outline()
                for stage in self.stages.values():
                    stage.refresh()
            except (OSError, UserError):
                if self.dir.is_dir():
                    raise
            self._read = time.monotonic()

    def _refresh_outline(self) -> None:
        """Read recipe, lineage, artifacts, results and errors again if one of them has changed."""
        signature = _signature(self._outline_files())
        if signature == self._outlined:
            return
        self.run, self._outlined = outline(self.dir), signature
        self._outlines += 1
        names = [stage.name for stage in self.run.stages]
        self.stages = {name: self.stages.get(name) or LiveStage(self._files.stage(name)) for name in names}

    def _outline_files(self) -> Iterator[Path]:
        yield from (self._files.recipe, self._files.lineage, self._files.stages)
        for stage in (self._files.stage(each.name) for each in self.run.stages):
            yield from (stage.artifact, stage.results, stage.error, stage.samples)

    def with_rows(self) -> Run:
        """Return the run with the rows of its logs that header and warnings read."""
        stages = tuple(replace(each, metrics=self.stages[each.name].log.marked_rows()) for each in self.run.stages)
        return replace(self.run, stages=stages, notes=(*self.run.notes, *self._log_notes()))

    def with_samples(self) -> Run:
        """Return the run with the answers to benchmarks that a report shows. May take seconds after an evaluation."""
        with self.lock:
            run, stages = self.run, self.stages
        with self._samples_lock:  # not `lock`: the page goes on meanwhile
            answers = [stages[each.name].samples(self.dir) for each in run.stages]
        with_samples = (
            replace(stage, samples=rows, samples_left_out=left_out)
            for stage, (rows, left_out) in zip(run.stages, answers, strict=True)
        )
        return replace(run, stages=tuple(with_samples))

    def _log_notes(self) -> Iterator[str]:
        for name, log in ((name, stage.log) for name, stage in self.stages.items()):
            if log.damaged:
                yield f"{log.damaged:,} lines in the logs of stage {name} cannot be read and are left out."
            for metric, (first, count) in log.not_finite.items():
                yield f"{name}: {metric} is NaN or infinite, first at step {first:,.0f}, {count:,} times."

    def progress(self) -> Progress:
        """Bring the run up to date and return how far it has come."""
        with self.lock:
            self.refresh()
            states = {stage.name: stage_state(self._files.stage(stage.name)) for stage in self.run.stages}
            present = present_stage(states)
            return Progress(
                name=self.run.name,
                dir=str(self.dir),
                state=run_state(self._files, states.values()) if self.dir.is_dir() else "deleted",
                stage=present,
                seconds_left=self._seconds_left(present, states),
                changed=last_change(self._files, states),
                rows=sum(stage.version for stage in self.stages.values()),
                files=self._outlines,
                stages=[self._stage_progress(stage, states[stage.name]) for stage in self.run.stages],
            )

    def _seconds_left(self, name: str | None, states: Mapping[str, StageState]) -> float | None:
        if name is None or states[name] == "done":
            return None
        config = next(stage.config for stage in self.run.stages if stage.name == name)
        return self.stages[name].seconds_left(config)

    def _stage_progress(self, stage: Stage, state: StageState) -> StageProgress:
        live, steps = self.stages[stage.name], stage.config.get("steps")
        return StageProgress(
            name=stage.name,
            kind=stage.kind,
            state=state,
            step=int(live.log.last["step"]) if live.log.last else None,
            steps=steps if isinstance(steps, int) else None,
            version=live.version,
            rollouts=len(live.rollouts.steps),
            newest=live.rollouts.steps[-1] if live.rollouts.steps else None,
        )


def _signature(paths: Iterable[Path]) -> Signature:
    """Return what changes when one of these files is written, appears or disappears."""
    known = ((str(path), path.stat()) for path in paths if path.exists())
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in known)
