"""Judge claims from the files of their runs: values of both sides, the pooled difference, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from r1kit import files
from r1kit.claim.runs import ClaimRun
from r1kit.claim.spec import WIN_RATE, Claim, Measure, Side
from r1kit.errors import UserError
from r1kit.evals.paired import common_problems, pool
from r1kit.metrics.log import read_metrics
from r1kit.report.collect import is_number, problem_values, read_jsonl, read_samples
from r1kit.report.win_rate import preferred
from r1kit.run_dir import RunDir, StageDir

State = Literal["confirmed", "open", "refuted", "not run"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a measure came to."""

    what: str
    metric: str
    low: float | None = None  # mean over seeds
    high: float | None = None
    low_by_seed: tuple[float, ...] = ()
    high_by_seed: tuple[float, ...] = ()
    by_seed: tuple[float, ...] = ()  # high - low
    ci95: tuple[float, float] | None = None
    band: tuple[float, float | None] = (0.0, None)
    problems: int = 0  # that were paired or compared; 0 for metrics of training
    state: State = "not run"


@dataclass(frozen=True, slots=True)
class Made:
    """What determined a result, and how it was made."""

    runs: dict[int, str]  # seed -> hash of the identities of all stages
    measures: str  # hash of what was measured in them
    seconds: int  # of all stages, also of those that other claims share
    machine: str
    date: str  # of the last stage, as 2026-01-31
    source: list[str]  # hashes of this package's modules


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim with its findings."""

    name: str
    claim: Claim
    seeds: tuple[int, ...]  # whose runs are finished
    findings: tuple[Finding, ...]
    made: Made | None = None  # of finished runs and records
    current: bool = True  # whether recipes, base models and measures are today's

    @property
    def state(self) -> State:
        """The worst state of a finding: the claim is confirmed only if all are."""
        states = {finding.state for finding in self.findings}
        order: tuple[State, ...] = ("refuted", "not run", "open")
        return next((state for state in order if state in states), "confirmed")


def judge(claim: Claim, runs: Mapping[int, Mapping[str, ClaimRun]]) -> Verdict:
    """Judge a claim by the seeds of which all runs have finished.

    Args:
        claim: The claim.
        runs: Seed -> name of the run -> run.
    """
    done = {seed: own for seed, own in runs.items() if all(_is_finished(run) for run in own.values())}
    findings = (_finding(measure, [*done.values()]) for measure in claim.measure)
    return Verdict(claim.name, claim, tuple(done), tuple(findings))


def _is_finished(run: ClaimRun) -> bool:
    return all(run.dir.stage(stage.name).is_finished for stage in run.stages)


def _finding(measure: Measure, runs: Sequence[Mapping[str, ClaimRun]]) -> Finding:
    if not runs:
        return Finding(measure.what, measure.metric, band=measure.band)
    low_side, high_side = measure.sides
    low, high = ([_values(side, own) for own in runs] for side in (low_side, high_side))
    low = [each or dict.fromkeys(other, low_side.value or 0.0) for each, other in zip(low, high, strict=True)]
    high = [each or dict.fromkeys(other, high_side.value or 0.0) for each, other in zip(high, low, strict=True)]
    pooled, paired = pool(high, low), common_problems([*low, *high])  # where there are any, the difference is of these
    low_by_seed, high_by_seed = (
        tuple(fmean(each[key] for key in paired or each) for each in side) for side in (low, high)
    )
    return Finding(
        what=measure.what,
        metric=measure.metric,
        low=fmean(low_by_seed),
        high=fmean(high_by_seed),
        low_by_seed=low_by_seed,
        high_by_seed=high_by_seed,
        by_seed=pooled.by_run,
        ci95=pooled.ci95,
        band=measure.band,
        problems=pooled.problems,
        state=state_of(pooled.ci95, *measure.band),
    )


def state_of(interval: tuple[float, float] | None, above: float, below: float | None) -> State:
    """Return whether an interval is in the band, outside of it, or neither."""
    if interval is None:
        return "open"
    least, most = interval
    end = float("inf") if below is None else below
    return "confirmed" if above < least and most < end else "refuted" if most < above or least > end else "open"


def _values(side: Side, runs: Mapping[str, ClaimRun]) -> Mapping[str, float]:
    """Return problem -> value of one seed, with the key "" for what belongs to no problem; {} for a constant."""
    if side.value is not None:
        return {}
    stage, *others = (runs[run].dir.stage(name) for run, name in side.places)
    values = _of_problems(side, stage, others) if stage.results.is_file() else _of_training(side, stage)
    if not values:
        where = f" where {side.where}" if side.where else ""
        raise UserError(f"{side.at}: {stage.path} has no {side.metric}{where}: correct the metric of the measure")
    return values


def _of_problems(side: Side, stage: StageDir, others: Sequence[StageDir]) -> Mapping[str, float]:
    benchmark, _, metric = side.metric.partition("/")
    notes: list[str] = []
    if metric == WIN_RATE:
        if not others:
            raise UserError(f"{side.at}: {side.metric} needs `against`, the evaluate stage to compare replies with")
        ours, theirs = (read_samples(each.samples, _run_of(each), notes)[0] for each in (stage, *others))
        return preferred(ours, theirs, benchmark)
    rows: Any = read_jsonl(stage.problems, _run_of(stage), notes)
    return problem_values(rows, benchmark, metric, {str(key): value for key, value in side.where.items()})


def _of_training(side: Side, stage: StageDir) -> Mapping[str, float]:
    if side.metric == "seconds":
        return {"": float(files.read_json(stage.artifact)["seconds"])}
    rows = list(read_metrics(stage.metrics))
    last = max((row["step"] for row in rows), default=0)
    first, end = (share * last for share in side.steps)
    logged = [row for row in rows if is_number(row.get(side.metric))]
    values = [row[side.metric] for row in logged if first <= row["step"] <= end]
    if logged and not values:
        raise UserError(
            f"{side.at}: no step in steps = [{side.steps[0]:g}, {side.steps[1]:g}] of {last} has been logged"
        )
    return {"": fmean(values)} if values else {}


def _run_of(stage: StageDir) -> Any:
    return RunDir(stage.path.parent.parent).path
