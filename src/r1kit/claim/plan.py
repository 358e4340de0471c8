"""What claims still have to run, each stage once, and about how long it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from r1kit.claim.runs import ClaimRun, Key, Runs, Shared
from r1kit.claim.spec import Claim
from r1kit.console import duration
from r1kit.run.resolve import ResolvedStage

# First guesses: seconds of a stage, or of one of its steps if it has `steps`, in `sprout-r1` on two cores (AMD EPYC,
# Zen 4 without AMX). Finished stages replace them.
GUESSES = {"rl": 1.8, "pretrain": 0.2, "sft": 60.0, "curate": 30.0, "preference": 30.0, "evaluate": 15.0}


@dataclass(frozen=True, slots=True)
class Planned:
    """One run of a claim that has something to do."""

    claim: str
    seed: int
    name: str  # of the run
    run: ClaimRun
    to_do: tuple[str, ...]  # stages that have finished nowhere, and that no earlier run of the plan makes
    seconds: float  # estimate


def make_plan(claims: Sequence[tuple[Claim, Runs]], shared: Shared) -> list[Planned]:
    """Return the runs in order; runs that only take finished stages of others have nothing to do."""
    seen: set[Key] = set(shared.places)
    planned = []
    for claim, runs in claims:
        for seed, own in runs.items():
            for name, run in own.items():
                to_do = [stage for stage in run.stages if (stage.name, stage.identity) not in seen]
                seen.update(run.keys)
                seconds = sum(estimate(stage, shared) for stage in to_do)
                planned.append(Planned(claim.name, seed, name, run, tuple(s.name for s in to_do), seconds))
    return planned


def cheapest_first(claims: Sequence[tuple[Claim, Runs]], shared: Shared) -> list[tuple[Claim, Runs]]:
    """Order claims so that the next one always has the least left to run.

    Claims that share stages then follow each other, and an interruption leaves as many finished claims as possible.
    """
    rest, order = [(each, _seconds(each[1], shared)) for each in claims], []
    while rest:
        first, done = min(rest, key=lambda each: sum(each[1].values()))
        order.append(first)
        rest = [
            (each, {key: seconds for key, seconds in left.items() if key not in done})
            for each, left in rest
            if each is not first
        ]
    return order


def _seconds(runs: Runs, shared: Shared) -> dict[Key, float]:
    """Return an estimate for each stage that has finished nowhere."""
    stages = {
        key: stage
        for own in runs.values()
        for run in own.values()
        for key, stage in zip(run.keys, run.stages, strict=True)
    }
    return {key: estimate(stage, shared) for key, stage in stages.items() if key not in shared.places}


def estimate(stage: ResolvedStage, shared: Shared) -> float:
    """Return the seconds that a stage probably takes: as finished ones of its name, else of its kind, by steps.

    Those of far fewer steps say nothing: their time is mostly start-up.
    """
    steps = getattr(stage.config, "steps", 1)
    finished = [
        (name, each)
        for (name, _), each in shared.artifacts.items()
        if each.get("kind") == stage.config.kind and 4 * each["config"].get("steps", 1) >= steps
    ]
    alike = [each for name, each in finished if name == stage.name] or [each for _, each in finished]
    rates = [each["seconds"] / each["config"].get("steps", 1) for each in alike if each.get("seconds")]
    return steps * (fmean(rates) if rates else GUESSES.get(stage.config.kind, 30.0))


def render(planned: Sequence[Planned]) -> str:
    """Format the plan as text: a line for each claim with something to do, and the sum."""
    lines = []
    for claim in dict.fromkeys(p.claim for p in planned if p.to_do):
        own = [p for p in planned if p.claim == claim]
        times = Counter(name for p in own for name in p.to_do)
        stages = ", ".join(name if n == 1 else f"{n} x {name}" for name, n in times.items())
        lines.append(f"  {claim}: {times.total()} stages, about {duration(sum(p.seconds for p in own))} ({stages})")
    count, claims = sum(len(p.to_do) for p in planned), len({p.claim for p in planned})
    total = duration(sum(p.seconds for p in planned))
    return "\n".join([*lines, f"to do: {count} stages, about {total}, for {claims} claims; nothing was run or written"])
