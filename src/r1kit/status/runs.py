"""What `r1kit runs` lists: each run's recipe, state, stage, step, best score, time left and last change."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit.errors import UserError
from r1kit.metrics.history import is_number
from r1kit.metrics.tail import Tail
from r1kit.run_dir import RunDir, StageDir
from r1kit.status.state import RunState, present_stage, run_state, stage_seconds_left, stage_state

DEPTH = 2  # directories below a given one in which runs are looked for
LAST_BYTES = 64 * 1024  # of a log, in which its last row is looked for


@dataclass(frozen=True, slots=True)
class Score:
    """pass@1 on a benchmark, and the stage that reached it."""

    benchmark: str
    stage: str
    value: float


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a run has come."""

    dir: str
    recipe: str
    state: RunState
    stage: str | None  # under way, or the next or last one
    stages_done: int
    stages: int
    step: int | None  # of the stage
    steps: int | None  # of the stage, where the recipe knows them
    best: Score | None  # of the benchmark that most stages measured
    seconds_left: float | None  # of the stage
    changed: float  # seconds since 1970


def find_runs(directories: Sequence[Path]) -> list[Path]:
    """Return the run directories that these are or contain, by name.

    Raises:
        UserError: One of them is no directory.
    """
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"{directory}: no such directory; pass a directory of runs, such as runs")
    return list(dict.fromkeys(run for directory in directories for run in _runs_in(directory, DEPTH)))


def _runs_in(directory: Path, depth: int) -> Iterator[Path]:
    if is_run(directory):
        yield directory
    elif depth:
        for child in sorted(directory.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from _runs_in(child, depth - 1)


def is_run(directory: Path) -> bool:
    """Return whether a directory is a run."""
    paths = RunDir(directory)
    return paths.recipe.is_file() and (paths.stages.is_dir() or paths.lineage.is_file() or paths.lock.is_file())


def read_status(directory: Path) -> RunStatus:
    """Return the status of a run. An unreadable recipe gives a run without stages."""
    run = RunDir(directory)
    recipe = _recipe(run)
    configs = recipe["stage"] if isinstance(recipe.get("stage"), dict) else {}
    states = {name: stage_state(run.stage(name)) for name in configs}
    present = present_stage(states)
    config, step, left = {}, None, None
    if present is not None:
        config, files = configs[present], run.stage(present)
        step = _last_step(files.metrics)
        if states[present] != "done":
            left = stage_seconds_left(config, Tail(files.timings).rows(), step or 0)
    steps = config.get("steps")
    return RunStatus(
        dir=str(directory),
        recipe=str(recipe.get("name") or directory.name),
        state=run_state(run, states.values()),
        stage=present,
        stages_done=sum(state == "done" for state in states.values()),
        stages=len(states),
        step=step,
        steps=steps if isinstance(steps, int) else None,
        best=_best([score for name in configs for score in _scores(name, run.stage(name))]),
        seconds_left=left,
        changed=last_change(run, configs),
    )


def _recipe(run: RunDir) -> dict[str, Any]:
    try:
        return tomllib.loads(run.recipe.read_text(encoding="utf-8", errors="replace"))
    except (OSError, tomllib.TOMLDecodeError):
        return {}


def _last_step(log: Path) -> int | None:
    """Return the step of the last complete row, without reading all of the log."""
    if not log.is_file():
        return None
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_BYTES))
        lines = file.read().split(b"\n")[:-1]
    for line in reversed(lines):
        step = _object(line).get("step")
        if is_number(step):
            return int(step)
    return None


def _scores(name: str, stage: StageDir) -> Iterator[Score]:
    """Yield the best pass@1 of a stage on each of its benchmarks."""
    best: dict[str, float] = {}
    if stage.results.is_file():
        summaries = _object(stage.results.read_bytes()).get("benchmarks")
        for benchmark, summary in summaries.items() if isinstance(summaries, dict) else ():
            if isinstance(summary, dict) and is_number(summary.get("pass@1")):
                best[benchmark] = summary["pass@1"]
    if stage.metrics.is_file():
        with stage.metrics.open("rb") as log:
            rows = (_object(line) for line in log if b'/pass@1"' in line)
            for metric, value in (item for row in rows for item in row.items()):
                if metric.startswith("eval/") and metric.endswith("/pass@1") and is_number(value):
                    benchmark = metric.removeprefix("eval/").removesuffix("/pass@1")
                    best[benchmark] = max(value, best.get(benchmark, value))
    for benchmark, value in best.items():
        yield Score(benchmark, name, value)


def _object(text: bytes) -> Mapping[str, Any]:
    """Return a JSON object; {} for what is damaged or half-written."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _best(scores: Sequence[Score]) -> Score | None:
    """Return the best score of the benchmark that most stages measured, since benchmarks cannot be compared."""
    counts = Counter(score.benchmark for score in scores)
    common = [score for score in scores if counts[score.benchmark] == max(counts.values())]
    same = [score for score in common if score.benchmark == common[0].benchmark]
    return max(same, key=lambda score: score.value, default=None)


def last_change(run: RunDir, stages: Iterable[str]) -> float:
    """Return when a file of the run was last written, in seconds since 1970."""
    paths = [run.recipe, run.lineage]
    for name in stages:
        stage = run.stage(name)
        paths += [stage.path, stage.metrics, stage.timings, stage.artifact, stage.rollouts, stage.checkpoints]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
