"""How long what is left of a run may take, judged by its own finished stages of the same kind."""

from __future__ import annotations

from collections.abc import Mapping

from r1kit.console import duration
from r1kit.plan import Plan, StagePlan

AMOUNTS = ("tokens_per_step", "steps", "epochs", "completions", "samples_per_problem")  # counts that make the work


def amount(stage: StagePlan) -> float:
    """What a stage has to do, in a unit that only stages of its kind share: samples, steps or epochs times parameters.

    How many problems and records there are is not known before they are read, so they are taken to be alike.
    """
    counts = stage.counts
    work = float(stage.parameters or 1)
    for name in ("completions",) if "completions" in counts else AMOUNTS:
        work *= counts.get(name, 1)
    return work


def forecast(planned: Plan, finished: Mapping[str, float]) -> dict[str, float | None]:
    """Seconds that every stage not yet finished may take; None where none of its kind has finished.

    `finished`: the seconds that stages took.
    """
    found: dict[str, float | None] = {}
    for stage in planned.stages:
        alike = [other for other in planned.stages if other.kind == stage.kind and other.name in finished]
        if stage.name not in finished:
            rate = sum(finished[o.name] for o in alike) / sum(map(amount, alike)) if alike else None
            found[stage.name] = None if rate is None else rate * amount(stage)
    return found


def told(left: Mapping[str, float | None]) -> str:
    """The sum for people: "about 12:30", or how many stages nothing is known about."""
    known = [seconds for seconds in left.values() if seconds is not None]
    unknown = len(left) - len(known)
    rest = f"{unknown} stage{'s' * (unknown > 1)} of a kind not timed yet"
    if not known:
        return rest if unknown else "0:00"
    return f"about {duration(sum(known))}" + (f" and {rest}" if unknown else "")
