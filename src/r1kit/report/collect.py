"""Reading a run directory into records, from its files alone.

The run may be unfinished or damaged. Missing files give empty values, unreadable ones are listed in `Run.notes`, and an
incomplete last line of a log is skipped, because a running stage may be writing it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from r1kit.errors import UserError
from r1kit.run_dir import RunDir, StageDir

ROLLOUT_STEPS = 12  # logged steps shown per stage, including the first and the last
SAMPLES_KEPT = 2  # answers shown per benchmark problem
SAMPLE_CHARACTERS = 4_000_000  # kept of a benchmark's answers, more than fits into a page
TEXT_HEAD, TEXT_TAIL = 4000, 2000  # characters kept of long texts
NOT_FINITE = ("NaN", "Infinity", "-Infinity")  # their spelling in metrics.jsonl

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """The files of one stage."""

    name: str
    kind: str
    state: str  # "done", "under way", "failed" or "not started"
    config: Mapping[str, Any] = field(default_factory=dict)
    artifact: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Row, ...] = ()  # in order of the steps
    rollouts: Mapping[int, tuple[Row, ...]] = field(
        default_factory=dict
    )  # step -> completions, with long texts shortened
    rollouts_left_out: int = 0  # logged steps without an entry in `rollouts`
    results: Mapping[str, Any] = field(default_factory=dict)  # {"model", "benchmarks"} of an evaluate stage
    problems: tuple[Row, ...] = ()  # the metrics of each problem of an evaluate stage
    samples: tuple[Row, ...] = ()  # SAMPLES_KEPT per problem, of those that `_Sample` keeps, with long texts shortened
    samples_left_out: int = 0
    error: str = ""  # traceback of a failed stage
    amendments: tuple[Row, ...] = ()  # changes of its settings while it was under way

    @property
    def seconds(self) -> float:
        """Run time of a finished stage, else 0."""
        value = self.artifact.get("seconds")
        return float(value) if is_number(value) else 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory: its stages in the recipe's order, and notes on unreadable files."""

    name: str
    recipe_text: str
    lineage: Any
    stages: tuple[Stage, ...]
    notes: tuple[str, ...]

    @property
    def evals(self) -> dict[str, Mapping[str, Any]]:
        """The results of the evaluate stages by name, in the recipe's order."""
        return {stage.name: stage.results for stage in self.stages if stage.results}


def is_number(value: object) -> TypeGuard[float]:
    """Return whether the value is a finite number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def problem_values(rows: Iterable[Row], benchmark: str, metric: str, where: Mapping[str, str]) -> dict[str, float]:
    """Return problem -> value of a metric of `evals.metrics.problem_values`, or of the difference "A - B" of two.

    Args:
        rows: Rows of problems.jsonl.
        benchmark: A benchmark in them.
        metric: The metric.
        where: The level, family or language of the problems; all by default.
    """
    first, *others = metric.split(" - ")
    found = {}
    for row in rows:
        values = {name: value for name, value in _as_dict(row.get("values")).items() if is_number(value)}
        chosen = row.get("benchmark") == benchmark and all(str(row.get(key)) == text for key, text in where.items())
        if chosen and {first, *others} <= values.keys():
            found[str(row.get("prompt_id"))] = values[first] - sum(values[name] for name in others)
    return found


def collect(run_dir: Path) -> Run:
    """Read `run_dir`. UserError if it is not a run directory."""
    run = outline(run_dir)
    notes = list(run.notes)
    stages = tuple(_with_logs(stage, run_dir, notes) for stage in run.stages)
    return replace(run, stages=stages, notes=tuple(notes))


def outline(run_dir: Path) -> Run:
    """Read everything but the logs: metrics, rollouts and samples. UserError if `run_dir` is not a run directory."""
    paths = RunDir(run_dir)
    if not paths.recipe.is_file() and not paths.stages.is_dir():
        raise UserError(
            f"{run_dir} is not a run directory: it has neither recipe.toml nor stages/. "
            "Pass the directory that `r1kit run` printed at its end, e.g. runs/sprout-zero."
        )
    notes: list[str] = []
    text, recipe = _read_recipe(paths.recipe, notes)
    planned = recipe["stage"] if isinstance(recipe.get("stage"), dict) else {}
    names = [*planned, *(n for n in _stage_names(paths.stages) if n not in planned)]
    lineage = _read_json(paths.lineage, run_dir, notes)
    records = _as_dict(_as_dict(lineage).get("stages"))
    stages = tuple(_read_stage(run_dir, name, planned.get(name), records.get(name), notes) for name in names)
    return Run(str(recipe.get("name") or run_dir.resolve().name), text, lineage, stages, tuple(notes))


def _read_recipe(path: Path, notes: list[str]) -> tuple[str, dict[str, Any]]:
    if not path.is_file():
        notes.append("recipe.toml is missing, so the stages are in alphabetical order.")
        return "", {}
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        notes.append(f"recipe.toml cannot be read: {error}.")
        return text, {}


def _stage_names(stages: Path) -> list[str]:
    visible = (p.name for p in stages.iterdir() if p.is_dir() and not p.name.startswith(".")) if stages.is_dir() else ()
    return sorted(visible)


def _read_stage(run_dir: Path, name: str, planned: object, record: object, notes: list[str]) -> Stage:
    paths = RunDir(run_dir).stage(name)
    artifact = _as_dict(_read_json(paths.artifact, run_dir, notes))
    config = {**_as_dict(planned), **_as_dict(artifact.get("config"))}
    failed = paths.error.is_file() and not artifact
    error = paths.error.read_text(encoding="utf-8", errors="replace") if failed else ""
    amendments = (artifact or _as_dict(record)).get("amendments") if paths.path.is_dir() else None
    return Stage(
        name=name,
        kind=str(artifact.get("kind") or config.get("kind") or "stage"),
        state="done" if artifact else "failed" if error else "under way" if paths.path.is_dir() else "not started",
        config=config,
        artifact=artifact,
        results=_read_results(paths.results, run_dir, notes),
        error=error,
        amendments=tuple(each for each in amendments or () if is_number(each.get("step"))),
    )


def _with_logs(stage: Stage, run_dir: Path, notes: list[str]) -> Stage:
    paths = RunDir(run_dir).stage(stage.name)
    rollouts, steps_left_out = _read_rollouts(paths.rollouts, run_dir, notes)
    samples, samples_left_out = read_samples(paths.samples, run_dir, notes)
    return replace(
        stage,
        metrics=_read_metrics(paths, run_dir, notes),
        rollouts=rollouts,
        rollouts_left_out=steps_left_out,
        problems=tuple(read_jsonl(paths.problems, run_dir, notes)),
        samples=samples,
        samples_left_out=samples_left_out,
    )


def _as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_json(path: Path, run_dir: Path, notes: list[str]) -> Any:
    """Return the file's JSON, or None if it does not exist or is invalid, with a note."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        notes.append(f"{path.relative_to(run_dir)} is not JSON: {error}.")
        return None


def _read_results(path: Path, run_dir: Path, notes: list[str]) -> dict[str, Any]:
    results = _as_dict(_read_json(path, run_dir, notes))
    if results and not isinstance(results.get("benchmarks"), dict):
        notes.append(f'{path.relative_to(run_dir)} has no "benchmarks" and is left out.')
        return {}
    return results


def read_jsonl(path: Path, run_dir: Path, notes: list[str]) -> Iterator[Row]:
    """Yield the objects of a JSONL file. Invalid lines are noted, except a last line without newline."""
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                if line.endswith(b"\n"):
                    notes.append(f"{path.relative_to(run_dir)} line {number} is not JSON and is left out: {error}.")
                continue
            if isinstance(row, dict):
                yield row
            else:
                notes.append(f"{path.relative_to(run_dir)} line {number} is not an object and is left out.")


def _read_metrics(paths: StageDir, run_dir: Path, notes: list[str]) -> tuple[Row, ...]:
    """Return the rows by step, with timings. Of a step logged twice, by a resumed run, the later row counts."""
    by_step: dict[float, Row] = {}
    for row in read_jsonl(paths.metrics, run_dir, notes):
        if is_number(row.get("step")):
            by_step[row["step"]] = row
        else:
            notes.append(f"{paths.metrics.relative_to(run_dir)} has a line without a step number, which is left out.")
    for row in read_jsonl(paths.timings, run_dir, notes):
        if row.get("step") in by_step:
            by_step[row["step"]] |= row
    non_finite: dict[str, list[float]] = {}
    for step in sorted(by_step):
        for metric, value in by_step[step].items():
            if value in NOT_FINITE or (isinstance(value, float) and not math.isfinite(value)):
                non_finite.setdefault(metric, []).append(step)
    file = paths.metrics.relative_to(run_dir)
    for metric, steps in non_finite.items():
        notes.append(f"{file}: {metric} is NaN or infinite, first at step {steps[0]:,}, {len(steps):,} times.")
    return tuple(by_step[step] for step in sorted(by_step))


def _read_rollouts(folder: Path, run_dir: Path, notes: list[str]) -> tuple[dict[int, tuple[Row, ...]], int]:
    """Return the completions of at most ROLLOUT_STEPS evenly spaced steps, and the number of steps left out."""
    files = {int(m[1]): p for p in folder.glob("step_*.jsonl") if (m := re.fullmatch(r"step_(\d+)\.jsonl", p.name))}
    steps = sorted(files)
    last = len(steps) - 1
    if last >= ROLLOUT_STEPS:
        steps = [steps[round(i * last / (ROLLOUT_STEPS - 1))] for i in range(ROLLOUT_STEPS)]
    shown = {step: tuple(_shorten(row) for row in read_jsonl(files[step], run_dir, notes)) for step in steps}
    return shown, len(files) - len(steps)


def read_samples(path: Path, run_dir: Path, notes: list[str]) -> tuple[tuple[Row, ...], int]:
    """Return the first SAMPLES_KEPT answers to benchmark problems, and the number of answers left out.

    Of each benchmark, the problems that come first by `problem_rank` are kept, as many as have SAMPLE_CHARACTERS.
    """
    samples: defaultdict[str, _Sample] = defaultdict(_Sample)
    total = 0
    for row in read_jsonl(path, run_dir, notes):
        total += 1
        samples[str(row.get("benchmark"))].add(row)
    kept = [row for sample in samples.values() for rows in sample.rows.values() for row in rows]
    return tuple(kept), total - len(kept)


def problem_rank(benchmark: str, prompt_id: str) -> bytes:
    """Return the place of a problem in a random order that depends on its id only, the same in every run."""
    return hashlib.sha256(f"{benchmark} {prompt_id}".encode("utf-8", "replace")).digest()


class _Sample:
    """The answers to the problems of one benchmark that come first by rank, within SAMPLE_CHARACTERS."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}  # by problem
        self._ranked: list[tuple[bytes, str]] = []  # by rank
        self._characters = 0
        self._end: bytes | None = None  # rank of the first problem that is left out

    def add(self, row: Row) -> None:
        prompt_id = str(row.get("prompt_id"))
        rank = problem_rank(str(row.get("benchmark")), prompt_id)
        if (self._end is not None and rank >= self._end) or len(self.rows.get(prompt_id, ())) == SAMPLES_KEPT:
            return
        if prompt_id not in self.rows:
            insort(self._ranked, (rank, prompt_id))
        self.rows.setdefault(prompt_id, []).append(_shorten(row))
        self._characters += _characters([self.rows[prompt_id][-1]])
        while self._characters > SAMPLE_CHARACTERS and len(self._ranked) > 1:
            self._end, last = self._ranked.pop()
            self._characters -= _characters(self.rows.pop(last))


def _characters(rows: Iterable[Row]) -> int:
    return sum(len(value) for row in rows for value in row.values() if isinstance(value, str))


def _shorten(row: Row) -> Row:
    """Cut the middle out of long texts, to limit memory and the size of the page."""
    return {key: _shorten_text(value) if isinstance(value, str) else value for key, value in row.items()}


def _shorten_text(text: str) -> str:
    cut = len(text) - TEXT_HEAD - TEXT_TAIL
    if cut <= 0:
        return text
    return f"{text[:TEXT_HEAD]}\n[... {cut:,} characters left out of this page ...]\n{text[-TEXT_TAIL:]}"
