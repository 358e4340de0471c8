"""Plots of metrics.jsonl as inline SVG; the page's style sheet sets their fonts and colours.

To add a plot, add a `Panel` to PANELS, and an explanation of a new metric to metrics/glossary.py.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from math import ceil, floor, log10
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from r1kit.report.collect import Row, is_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 240  # per curve; longer curves combine neighbouring steps
MAX_EXTRA = 12  # plots of metrics that no panel names
LEFT, RIGHT = 0.13, 0.985  # ends of the x axis as shares of the width; page.js needs them for the cursor
COLOURS = [f"#c0000{i}" for i in range(1, 9)]  # placeholders for the page's variables --c1 to --c8
FLAT, NOISE = 1e-3, 1e-7  # curves that vary less, relative or absolute, are drawn as constant
INK, GRID = "#c00010", "#c00011"  # placeholders for --muted and --line

PHASES = ("rollout", "grade", "values", "data", "update", "eval", "save")

Curve = tuple[list[float], list[float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: its metrics and its style."""

    title: str
    patterns: tuple[str, ...]  # names of metrics; `*` matches any part
    style: Literal["number", "share", "log", "stack"] = "number"
    smooth: bool = True  # add a running mean if there are many points
    x: str = "step"  # what the x axis counts, at the cursor
    log_x: bool = False  # powers of two on the x axis


@dataclass(frozen=True, slots=True)
class Chart:
    """One panel as SVG, and the values that the page shows at the cursor."""

    title: str
    metrics: tuple[str, ...]  # metric i has the page's colour 1 + i % 8
    svg: str
    note: str  # text below the plot
    hover: dict[str, Any]  # {"x": steps, "y": {metric: values}, "range": [left, right], ...} for the page's cursor


PANELS = (
    Panel("Held-out accuracy", ("eval/*/pass@1", "eval/*/cons@*", "eval/*/pass@*"), "share", smooth=False),
    Panel("Reward", ("reward", "reward_std")),
    Panel("Reward parts", ("rewards/*/mean",)),
    Panel("Completion length", ("completions/mean_length", "completions/max_length", "completions/min_length")),
    Panel("Truncated completions", ("completions/clipped_ratio",), "share"),
    Panel("Repetition", ("completions/repetition",), "share"),
    Panel("Reflective words", ("completions/reflective_words",)),
    Panel("Languages", ("completions/other_language", "completions/language/*"), "share"),
    Panel("Held-out format", ("eval/*/format_rate",), "share", smooth=False),
    Panel("Held-out length", ("eval/*/mean_tokens",), smooth=False),
    Panel("Held-out truncated answers", ("eval/*/truncated",), "share", smooth=False),
    Panel("Groups without variance", ("frac_reward_zero_std",), "share"),
    Panel("KL to the reference", ("kl",)),
    Panel("Entropy", ("entropy",)),
    Panel("Clipped tokens", ("clip_ratio", "dual_clip_ratio", "importance_capped"), "share"),
    Panel("Explained variance of the critic", ("critic/explained_variance",)),
    Panel("Loss of the critic", ("critic/loss",)),
    Panel("Clipped values of the critic", ("critic/clip_ratio",), "share"),
    Panel(
        "Difference of sampling and training",
        ("sampling/logp_difference_mean", "sampling/logp_difference_max"),
        "log",
    ),
    Panel("Loss", ("loss",)),
    Panel("Gradient norm", ("grad_norm", "critic/grad_norm")),
    Panel(
        "Skipped updates, ungraded completions, weights lag",
        ("skipped", "completions/ungraded", "sampling/weights_lag"),
        smooth=False,
    ),
    Panel("Learning rate", ("learning_rate", "critic/learning_rate"), smooth=False),
    Panel("Time by phase, seconds per step", tuple(f"time/{p}" for p in PHASES), "stack"),
    Panel("Time of inference, seconds per step", ("time/reference", "time/reward_models"), "stack"),
    Panel("Time beside the updates, seconds per step", ("time/overlapped/*",), "stack"),
    Panel("Time per step, seconds", ("time/step",)),
    Panel("Tokens sampled", ("tokens",), smooth=False),
    Panel("Tokens per second", ("tokens_per_second",)),
)


def charts(rows: Sequence[Row], salt: str, marks: Sequence[int] = ()) -> tuple[list[Chart], list[str]]:
    """Draw every panel that `rows` has data for, then one plot per metric that no panel names.

    Returns (charts, metrics not drawn). `salt` must differ between the stages of a page: it makes SVG ids unique.
    `marks` are steps with a vertical line.
    """
    curves = _curves(rows)
    panels, left_out = arrange(curves)
    drawn = [draw(panel, {n: curves[n] for n in names}, salt, marks=marks) for panel, names in panels]
    return drawn, left_out


def arrange(metrics: Iterable[str]) -> tuple[list[tuple[Panel, list[str]]], list[str]]:
    """Return the panels with their metrics, one panel for each metric that PANELS does not name, and those left out."""
    rest = dict.fromkeys(metrics)
    panels: list[tuple[Panel, list[str]]] = []
    for panel in PANELS:
        names = list(dict.fromkeys(n for p in panel.patterns for n in rest if fnmatchcase(n, p)))
        for name in names:
            del rest[name]
        if names:
            panels.append((panel, names))
    extra = list(rest)
    return panels + [(Panel(name, (name,)), [name]) for name in extra[:MAX_EXTRA]], extra[MAX_EXTRA:]


def _curves(rows: Sequence[Row]) -> dict[str, Curve]:
    """Return metric -> (steps, values), thinned; non-finite values are left out."""
    names = dict.fromkeys(n for row in rows for n in row if n != "step")
    curves = {}
    for name in names:
        points = [(row["step"], row[name]) for row in rows if is_number(row.get(name))]
        if points:
            curves[name] = thin(name, points)
    return curves


def thin(name: str, points: list[tuple[float, float]]) -> Curve:
    """Return at most MAX_POINTS points by merging groups of neighbours; a group is drawn at its last step."""
    merge: Callable[[Iterable[float]], float] = max if "max" in name else fmean
    width = -(-len(points) // MAX_POINTS)
    groups = [points[i : i + width] for i in range(0, len(points), width)]
    return [g[-1][0] for g in groups], [_digits(merge(v for _, v in g)) for g in groups]


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def _running_mean(values: list[float], width: int) -> list[float]:
    return [fmean(values[max(0, i - width) : i + width + 1]) for i in range(len(values))]


def draw(
    panel: Panel,
    curves: dict[str, Curve],
    salt: str,
    bands: Mapping[str, Sequence[float]] | None = None,
    marks: Sequence[float] = (),
) -> Chart:
    """Draw one plot.

    Args:
        panel: Its title and style.
        curves: Name -> (x, y).
        salt: Differs between plots of one title on a page: it makes SVG ids unique.
        bands: Name -> half the height of an interval around each value.
        marks: Places on the x axis with a vertical line.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {  # matplotlib types the keys as one Literal of all its settings
        "svg.fonttype": "none",
        "svg.hashsalt": f"{salt} {panel.title}",
        "font.size": 10,
        "path.simplify": False,  # else vertices deviate from the values that the cursor shows
        "axes.formatter.use_mathtext": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.7, 2.1))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((LEFT, 0.13, RIGHT - LEFT, 0.83))
        for i, name in enumerate(curves):
            _band(axes, COLOURS[i % len(COLOURS)], curves[name], (bands or {}).get(name, ()))
        note = (_stack if panel.style == "stack" else _lines)(axes, panel, curves)
        for mark in marks:
            axes.axvline(mark, color=INK, linewidth=1, linestyle=(0, (3, 3)))
        _finish(axes, panel, [y for _, ys in curves.values() for y in ys])
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        left, right = axes.get_xlim()
    steps = sorted({x for xs, _ in curves.values() for x in xs})
    by_step = {name: dict(zip(*curve, strict=True)) for name, curve in curves.items()}
    values = {name: [at.get(step) for step in steps] for name, at in by_step.items()}
    hover: dict[str, Any] = {"x": steps, "y": values, "range": [_digits(left), _digits(right)]}
    hover |= {} if panel.x == "step" else {"name": panel.x, "log": panel.log_x}
    return Chart(panel.title, tuple(curves), _clean(out.getvalue(), panel.title), note, hover)


def _band(axes: Axes, colour: str, curve: Curve, heights: Sequence[float]) -> None:
    """Draw the intervals of a curve of shares."""
    if heights:
        xs, ys = curve
        low = [max(0.0, y - height) for y, height in zip(ys, heights, strict=True)]
        high = [min(1.0, y + height) for y, height in zip(ys, heights, strict=True)]
        axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0, clip_on=False)


def _lines(axes: Axes, panel: Panel, curves: dict[str, Curve]) -> str:
    longest = max(len(xs) for xs, _ in curves.values())
    width = longest // 30 if panel.smooth else 0  # neighbours on either side that the running mean covers
    for i, (xs, ys) in enumerate(curves.values()):
        colour = COLOURS[i % len(COLOURS)]
        marker = "o" if len(xs) <= 30 and not width else ""
        thickness, alpha = (1.0, 0.35) if width else (1.8, None)
        axes.plot(xs, ys, color=colour, marker=marker, markersize=3, clip_on=False, linewidth=thickness, alpha=alpha)
        if width:
            axes.plot(xs, _running_mean(ys, width), color=colour, linewidth=1.8, clip_on=False)
    flat = {name: ys for name, (_, ys) in curves.items() if len(ys) > 1 and _is_flat(panel, ys)}
    values = (f"{name} {_range(ys, panel)}" if len(curves) > 1 else _range(ys, panel) for name, ys in flat.items())
    return f"Constant: {', '.join(values)}." if flat else ""


def _is_flat(panel: Panel, values: Sequence[float]) -> bool:
    """Return whether the values differ by no more than rounding errors, or too little to see."""
    noise = 0 if panel.style == "log" else NOISE
    return max(values) - min(values) <= max(noise, FLAT * max(map(abs, values)))


def _range(values: Sequence[float], panel: Panel) -> str:
    """Return the smallest and the largest value, or one number if they look the same."""
    scale, unit = (100, " %") if panel.style == "share" else (1, "")
    ends = dict.fromkeys(compact(scale * value) for value in (min(values), max(values)))
    return " to ".join(ends) + unit


def _stack(axes: Axes, panel: Panel, curves: dict[str, Curve]) -> str:
    """Draw stacked areas, with 0 for phases that a step did not have. Returns their shares of the total."""
    steps = sorted({x for xs, _ in curves.values() for x in xs})
    heights = [[dict(zip(*curve, strict=True)).get(s, 0.0) for s in steps] for curve in curves.values()]
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(heights))]
    axes.stackplot(steps, heights, colors=colours, linewidth=0, alpha=0.85, clip_on=False)
    total = sum(map(sum, heights)) or 1.0
    shares = (f"{name.removeprefix('time/')} {sum(ys) / total:.0%}" for name, ys in zip(curves, heights, strict=True))
    return "Shares of the time: " + ", ".join(shares) + "."


def _finish(axes: Axes, panel: Panel, values: Sequence[float]) -> None:
    """Set scale, ticks, number formats and grid of the axes."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    if panel.log_x:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: compact(v)))
    low, high = axes.get_ylim()
    if panel.style == "log" and axes.dataLim.minposy < float("inf") and high > 0:
        axes.set_yscale("log", nonpositive="mask")
        bottom = floor(log10(axes.dataLim.minposy))  # complete decades, so that at least two have labels
        axes.set_ylim(10**bottom, 10 ** max(bottom + 1, ceil(log10(axes.dataLim.ymax))))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
        if panel.style == "share":
            axes.set_ylim(0, 1.02 if high > 0.7 or panel.title == "Held-out accuracy" else max(high, 0.05))
        elif panel.style == "number" and _is_flat(panel, values):
            middle = 0.0 if max(map(abs, values)) <= NOISE else _digits(fmean(values))
            axes.set_ylim(*sorted((0, 2 * middle)) if middle else (-1, 1))
            axes.set_yticks([0, middle] if middle else [0])
        elif low > 0 and low < 0.7 * high:
            axes.set_ylim(0, high)
    low, high = sorted(axes.get_ylim())
    ticks = [tick for tick in map(float, axes.get_yticks()) if low <= tick <= high]
    axes.set_yticks(ticks, _tick_labels(ticks, panel))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=4, labelcolor=INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GRID)


def _tick_labels(ticks: Sequence[float], panel: Panel) -> list[str]:
    """Return labels with three digits, or as many as it takes to tell the ticks apart."""
    scale, unit = (100, "%") if panel.style == "share" else (1, "")
    labels: list[str] = []
    for digits in range(3, 8):
        labels = [compact(scale * tick, digits) + unit for tick in ticks]
        if len(set(labels)) == len(ticks):
            break
    return labels


def compact(value: float, digits: int = 3) -> str:
    """Format with three digits and a unit: 0.25, 3,200, 15k, 12M, 4e-5."""
    for unit, least, size in (("B", 9.995e8, 1e9), ("M", 9.995e5, 1e6), ("k", 1e4, 1e3)):
        if abs(value) >= least:
            return f"{value / size:.{digits}g}{unit}"
    if abs(value) >= 999.5:
        return f"{value:,.{max(0, digits - 4)}f}"
    return f"{value:.{digits}g}".replace("e-0", "e-")


def _clean(svg: str, title: str) -> str:
    """Return only the <svg> element, with the page's colours and without fonts, links, size and long decimals."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    head = f'role="img" aria-label="{escape(title)}"'
    svg = re.sub(r"<svg[^>]*?(viewBox=\"[^\"]+\")[^>]*>", lambda tag: f"<svg {tag[1]} {head}>", svg)
    svg = re.sub(r" id=\"[a-zA-Z0-9.]+_\d+\"", "", svg)
    svg = re.sub(r"font-family: [^;\"]+;?|<g/>|<defs>\s*</defs>", "", svg)
    svg = re.sub(
        r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg
    )  # only inside tags, not in the tick labels
    for i, colour in enumerate(COLOURS, start=1):
        svg = svg.replace(colour, f"var(--c{i})")
    svg = svg.replace(INK, "var(--muted)").replace(GRID, "var(--line)")
    return re.sub(r"\s*\n\s*", " ", svg).strip()
