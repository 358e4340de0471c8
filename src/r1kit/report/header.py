"""The top of the page: the run's totals, its headline results, and a card for every stage."""

from __future__ import annotations

from dataclasses import dataclass

from r1kit.report.collect import Run, Stage, is_number
from r1kit.report.comparison import comparison_rows, format_cell
from r1kit.report.plots import compact
from r1kit.report.stage_table import columns_of

MAX_TILES = 4
MAX_SUMMARY = 4  # numbers of an artifact's summary that are shown


@dataclass(frozen=True, slots=True)
class Tile:
    """pass@1 of one benchmark at the first and at the last evaluate stage."""

    benchmark: str
    before: str
    after: str
    first_stage: str
    last_stage: str


@dataclass(frozen=True, slots=True)
class StageCard:
    """One stage of the recipe."""

    name: str
    kind: str
    state: str
    details: str  # time, steps and parents
    summary: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Header:
    """What the template header.html shows."""

    name: str
    facts: tuple[str, ...]
    tiles: tuple[Tile, ...]
    stages: tuple[StageCard, ...]


def header(run: Run) -> Header:
    """Return the header of a run's page."""
    done = sum(stage.state == "done" for stage in run.stages)
    tokens = sum(s.metrics[-1]["tokens"] for s in run.stages if s.metrics and is_number(s.metrics[-1].get("tokens")))
    facts = [f"{done} of {len(run.stages)} stages done", f"{duration(sum(s.seconds for s in run.stages))} in total"]
    facts += [f"{compact(tokens)} tokens sampled in training"] if tokens else []
    return Header(run.name, tuple(facts), tuple(_tiles(run)[:MAX_TILES]), tuple(map(_stage_card, run.stages)))


def duration(seconds: float) -> str:
    """Format a duration with its two largest units: 42 s, 12 min 30 s, 3 h 5 min, 2 d 4 h."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    first = next(i for i, (_, size) in enumerate(units) if seconds >= size)
    (big, size), (small, part) = units[first], units[first + 1]
    rest = int(seconds % size // part)
    return f"{int(seconds // size)} {big}" + (f" {rest} {small}" if rest else "")


def _tiles(run: Run) -> list[Tile]:
    """Return a tile for every benchmark; student models do not count as the last stage."""
    tiles = []
    students = {column.stage for column in columns_of(run) if column.role.startswith("student")}
    for row in comparison_rows(run.evals):
        known = [(stage, c) for stage, c in zip(run.evals, row.cells, strict=True) if c.value is not None]
        known = [pair for pair in known if pair[0] not in students] or known
        if row.metric == "pass@1" and not row.section and len(known) > 1:
            (first, before), (last, after) = known[0], known[-1]
            numbers = format_cell("pass@1", before)[0], format_cell("pass@1", after)[0]
            tiles.append(Tile(row.benchmark, numbers[0], numbers[1], first, last))
    return tiles


def _stage_card(stage: Stage) -> StageCard:
    parents = stage.artifact.get("parents")
    made_from = f"from {', '.join(map(str, parents))}" if isinstance(parents, dict) and parents else ""
    steps = ", ".join(dict.fromkeys(f"{amendment['step']:,}" for amendment in stage.amendments))
    amended = f"amended after step {steps}" if steps else ""
    details = (duration(stage.seconds) if stage.seconds else "", _progress(stage), amended, made_from)
    summary = stage.artifact.get("summary")
    numbers = summary.items() if isinstance(summary, dict) else ()
    shown = [(str(k), _scalar(v)) for k, v in numbers if isinstance(v, str | int | float)][:MAX_SUMMARY]
    return StageCard(stage.name, stage.kind, stage.state, " · ".join(filter(None, details)), tuple(shown))


def _scalar(value: str | float) -> str:
    text = compact(value) if is_number(value) else str(value)
    return text if len(text) <= 80 else f"{text[:79]}\u2026"


def _progress(stage: Stage) -> str:
    planned = stage.config.get("steps")
    if stage.state == "done" and isinstance(planned, int):
        return f"{planned:,} steps"
    if not stage.metrics:
        return ""
    return f"step {stage.metrics[-1]['step']:,}" + (f" of {planned:,}" if isinstance(planned, int) else "")
