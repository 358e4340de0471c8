"""The lineage graph of a run: a layered drawing with stages as boxes and their inputs as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from r1kit.console import duration
from r1kit.report.ancestry import reads
from r1kit.report.collect import Run, Stage

WIDTH, HEIGHT, GAP, ROW = 138.0, 42.0, 12.0, 80.0  # of a box; gap between boxes; distance of two rows
LANE = 10.0  # width reserved for a line that passes through a row
NAME_CHARS = 18
SWEEPS = 12  # passes over all rows that align boxes with their neighbours
DRAWN = ("model", "data", "rewards")  # the kinds of input that have lines

Edge = tuple[str, str, str]  # from, to, use


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of boxes and lines. A line that passes through a row has a lane there, an invisible box."""

    rows: list[list[str]]  # names of boxes and lanes, from left to right
    x: Mapping[str, float]  # centre of each box and lane
    lines: list[tuple[str, list[str]]]  # (use, the boxes and lanes it connects)


@dataclass(frozen=True, slots=True)
class Box:
    """A stage, or an input from outside the run; coordinates in pixels."""

    name: str
    label: str  # the name, shortened to fit
    about: str
    state: str
    left: str
    top: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line from an input to a stage."""

    use: str
    path: str  # SVG path data


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the template lineage.html draws."""

    view_box: str
    width: str
    lines: tuple[Line, ...]
    boxes: tuple[Box, ...]


def lineage_graph(run: Run) -> Drawing | None:
    """Return the drawing, or None for a run without stages."""
    if not run.stages:
        return None
    stages = {stage.name: stage for stage in run.stages}
    edges = edges_of(stages)
    names = list(dict.fromkeys([*(start for start, _, _ in edges if start not in stages), *stages]))
    layout = lay_out(_rows_of(names, edges, stages), edges)
    left = min(x - _width(name) / 2 for name, x in layout.x.items())
    right = max(x + _width(name) / 2 for name, x in layout.x.items())
    height = ROW * (len(layout.rows) - 1) + HEIGHT
    top = {name: ROW * i for i, row in enumerate(layout.rows) for name in row}
    view_box = f"{left - 2:.0f} -2 {right - left + 4:.0f} {height + 4:.0f}"
    return Drawing(
        view_box,
        width=f"{right - left + 4:.0f}",
        lines=tuple(Line(use, _path(chain, layout.x, top, names)) for use, chain in layout.lines),
        boxes=tuple(_box(name, stages.get(name), layout.x[name] - WIDTH / 2, top[name]) for name in names),
    )


def edges_of(stages: Mapping[str, Stage]) -> list[Edge]:
    """Return (input, stage, use) for the models, data and reward models that each stage reads."""
    inputs = {name: reads(stage.config, stages) for name, stage in stages.items()}
    return [(start, name, use) for name, uses in inputs.items() for use in DRAWN for start in uses.get(use, ())]


def _rows_of(names: Sequence[str], edges: Sequence[Edge], stages: Mapping[str, Stage]) -> dict[str, int]:
    """Assign each box to a row: as low as the stages that read it allow; evaluations directly below their model."""
    evaluations = {name for name, stage in stages.items() if stage.kind == "evaluate"}
    depth: dict[str, int] = {}
    for name in names:  # in the recipe's order, so inputs come first
        depth[name] = 1 + max((depth.get(a, -1) for a, b, _ in edges if b == name), default=-1)
    last = max((depth[name] for name in names if name not in evaluations), default=0)
    row: dict[str, int] = {}
    for name in reversed([name for name in names if name not in evaluations]):
        below = [row[b] for a, b, _ in edges if a == name and b in row]
        row[name] = min(below, default=last + 1) - 1
    for name in (name for name in names if name in evaluations):
        row[name] = 1 + max((row.get(a, -1) for a, b, _ in edges if b == name), default=-1)
    return row


def lay_out(row: Mapping[str, int], edges: Sequence[Edge]) -> Layout:
    """Order the boxes of each row and place them, by moving each towards the mean of its neighbours, repeatedly."""
    rows: list[list[str]] = [[] for _ in range(max(row.values()) + 1)]
    for name, at in row.items():
        rows[at].append(name)
    lines = []
    for start, end, use in edges:
        lanes = [f"{start}\0{end}\0{at}" for at in range(row[start] + 1, row[end])]
        for at, lane in enumerate(lanes, start=row[start] + 1):
            rows[at].append(lane)
        lines.append((use, [start, *lanes, end]))
    near: dict[str, list[str]] = {name: [] for names in rows for name in names}
    for _, chain in lines:
        for a, b in pairwise(chain):
            near[a].append(b)
            near[b].append(a)
    x = {name: place for names in rows for name, place in _packed(names, [0.0] * len(names)).items()}
    for sweep in range(2 * SWEEPS):
        for names in rows if sweep % 2 else reversed(rows):
            wanted = {name: fmean(x[other] for other in near[name]) if near[name] else x[name] for name in names}
            if sweep < SWEEPS:
                names.sort(key=wanted.__getitem__)
            x |= _packed(names, [wanted[name] for name in names])
    return Layout(rows, x, lines)


def _packed(names: Sequence[str], wanted: Sequence[float]) -> dict[str, float]:
    """Return positions in the given order without overlap, as close as possible to the wanted ones on average."""
    place: list[float] = []
    for i, name in enumerate(names):
        least = place[-1] + (_width(names[i - 1]) + _width(name)) / 2 + GAP if place else wanted[i]
        place.append(max(wanted[i], least))
    shift = fmean(w - p for w, p in zip(wanted, place, strict=True)) if place else 0.0
    return {name: p + shift for name, p in zip(names, place, strict=True)}


def _width(name: str) -> float:
    return LANE if "\0" in name else WIDTH


def _path(chain: Sequence[str], x: Mapping[str, float], top: Mapping[str, float], boxes: Sequence[str]) -> str:
    parts = [f"M{x[chain[0]]:.0f},{top[chain[0]] + HEIGHT:.0f}"]
    for a, b in pairwise(chain):
        middle = (top[a] + HEIGHT + top[b]) / 2
        parts.append(f"C{x[a]:.0f},{middle:.0f} {x[b]:.0f},{middle:.0f} {x[b]:.0f},{top[b]:.0f}")
        if b not in boxes:
            parts.append(f"V{top[b] + HEIGHT:.0f}")
    return "".join(parts)


def _box(name: str, stage: Stage | None, left: float, top: float) -> Box:
    label = name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 1]}\u2026"
    about = f"{stage.kind}, {duration(stage.seconds) if stage.seconds else stage.state}" if stage else "external input"
    state = stage.state if stage else "root"
    return Box(name, label, about, state, f"{left:.0f}", f"{top:.0f}", f"{WIDTH:.0f}", f"{HEIGHT:.0f}")
