"""Curves of metrics.jsonl as inline SVG: without font or colour of their own: the page's style sheet decides."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from math import ceil, floor, log10
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from r1kit.report.collect import Row, is_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 240  # of a curve; beyond, neighbours are drawn as one
MAX_EXTRA = 12  # panels for metrics that no panel below names
LEFT, RIGHT = 0.11, 0.985  # where the axes begin and end, as a share of the width: the page's cursor needs it too
COLOURS = [f"#c0000{i}" for i in range(1, 9)]  # stand-ins; the page's --c1 to --c8 take their place
INK, GRID = "#c00010", "#c00011"

PHASES = ("rollout", "grade", "data", "update", "eval", "save")

Curve = tuple[list[float], list[float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: which metrics it shows and how."""

    title: str
    patterns: tuple[str, ...]  # names, `*` for any part of one
    style: Literal["number", "share", "log", "stack"] = "number"
    smooth: bool = True  # add a running mean where there are many points


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn panel."""

    title: str
    metrics: tuple[str, ...]  # the i-th has the page's colour 1 + i % 8
    svg: str
    note: str  # what the eye cannot read off
    hover: dict[str, Any]  # {"x": steps, "y": {metric: values}, "range": [left, right]} for the page's cursor


PANELS = (
    Panel("Held-out accuracy", ("eval/*/pass@1", "eval/*/cons@*", "eval/*/pass@*"), "share", smooth=False),
    Panel("Reward", ("reward", "reward_std")),
    Panel("Parts of the reward", ("rewards/*/mean",)),
    Panel("Length of completions", ("completions/mean_length", "completions/max_length", "completions/min_length")),
    Panel("Cut off by the length limit", ("completions/clipped_ratio",), "share"),
    Panel("Repetition", ("completions/repetition",), "share"),
    Panel("Reflective words", ("completions/reflective_words",)),
    Panel("Languages", ("completions/other_language", "completions/language/*"), "share"),
    Panel("Held-out format", ("eval/*/format_rate",), "share", smooth=False),
    Panel("Held-out length", ("eval/*/mean_tokens",), smooth=False),
    Panel("Held-out answers cut off", ("eval/*/truncated",), "share", smooth=False),
    Panel("Groups without variance", ("frac_reward_zero_std",), "share"),
    Panel("KL to the reference", ("kl",)),
    Panel("Entropy", ("entropy",)),
    Panel("Clipped by the objective", ("clip_ratio",), "share"),
    Panel(
        "Sampling and training disagree by", ("sampling/logp_difference_mean", "sampling/logp_difference_max"), "log"
    ),
    Panel("Loss", ("loss",)),
    Panel("Gradient norm", ("grad_norm",)),
    Panel(
        "Updates left out, completions not graded, weights behind",
        ("skipped", "completions/ungraded", "sampling/weights_lag"),
        smooth=False,
    ),
    Panel("Learning rate", ("learning_rate",), smooth=False),
    Panel("Time by phase, seconds a step", tuple(f"time/{p}" for p in PHASES), "stack"),
    Panel("Time a step, seconds", ("time/step",)),
    Panel("Tokens sampled", ("tokens",), smooth=False),
    Panel("Tokens per second", ("tokens_per_second",)),
)


def charts(rows: Sequence[Row], salt: str) -> tuple[list[Chart], list[str]]:
    """Every panel that `rows` has data for, then one for each metric that no panel names; and names not drawn.

    `salt` is what tells this stage from others: it goes into the ids inside the SVG, which must differ within a page.
    """
    curves = _curves(rows)
    drawn: list[Chart] = []
    rest = dict.fromkeys(curves)
    for panel in PANELS:
        names = [n for p in panel.patterns for n in curves if n in rest and fnmatchcase(n, p)]
        for name in names:
            rest.pop(name, None)
        if names:
            drawn.append(_draw(panel, {n: curves[n] for n in dict.fromkeys(names)}, salt))
    extra = list(rest)
    drawn += [_draw(Panel(name, (name,)), {name: curves[name]}, salt) for name in extra[:MAX_EXTRA]]
    return drawn, extra[MAX_EXTRA:]


def _curves(rows: Sequence[Row]) -> dict[str, Curve]:
    """Metric -> (steps, values), thinned; the values that are not finite numbers are left out."""
    names = dict.fromkeys(n for row in rows for n in row if n != "step")
    curves = {}
    for name in names:
        points = [(row["step"], row[name]) for row in rows if is_number(row.get(name))]
        if points:
            curves[name] = _thin(points, max if "max" in name else fmean)
    return curves


def _thin(points: list[tuple[float, float]], merge: Any) -> Curve:
    """At most MAX_POINTS points: equally many neighbours become one, at their last step."""
    width = -(-len(points) // MAX_POINTS)
    groups = [points[i : i + width] for i in range(0, len(points), width)]
    return [g[-1][0] for g in groups], [_digits(merge(v for _, v in g)) for g in groups]


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _running_mean(values: list[float], width: int) -> list[float]:
    return [fmean(values[max(0, i - width) : i + width + 1]) for i in range(len(values))]


def _draw(panel: Panel, curves: dict[str, Curve], salt: str) -> Chart:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"{salt} {panel.title}",
        "font.size": 9,
        "path.simplify": False,  # its vertices would drift from the values the cursor reads out
        "axes.formatter.use_mathtext": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.7, 2.1))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((LEFT, 0.13, RIGHT - LEFT, 0.83))
        note = (_stack if panel.style == "stack" else _lines)(axes, panel, curves)
        _finish(axes, panel)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        left, right = axes.get_xlim()
    steps = sorted({x for xs, _ in curves.values() for x in xs})
    by_step = {name: dict(zip(*curve, strict=True)) for name, curve in curves.items()}
    values = {name: [at.get(step) for step in steps] for name, at in by_step.items()}
    hover = {"x": steps, "y": values, "range": [_digits(left), _digits(right)]}
    return Chart(panel.title, tuple(curves), _clean(out.getvalue(), panel.title), note, hover)


def _lines(axes: Axes, panel: Panel, curves: dict[str, Curve]) -> str:
    longest = max(len(xs) for xs, _ in curves.values())
    width = longest // 30 if panel.smooth else 0  # neighbours on either side in the running mean
    for i, (xs, ys) in enumerate(curves.values()):
        colour = COLOURS[i % len(COLOURS)]
        marker = "o" if len(xs) <= 30 and not width else ""
        pale = {"linewidth": 1, "alpha": 0.35} if width else {"linewidth": 1.8}
        axes.plot(xs, ys, color=colour, marker=marker, markersize=3, clip_on=False, **pale)
        if width:
            axes.plot(xs, _running_mean(ys, width), color=colour, linewidth=1.8, clip_on=False)
    return ""


def _stack(axes: Axes, panel: Panel, curves: dict[str, Curve]) -> str:
    """Areas on top of one another; a phase that a step did not have took 0 seconds."""
    steps = sorted({x for xs, _ in curves.values() for x in xs})
    heights = [[dict(zip(*curve, strict=True)).get(s, 0.0) for s in steps] for curve in curves.values()]
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(heights))]
    axes.stackplot(steps, heights, colors=colours, linewidth=0, alpha=0.85, clip_on=False)
    total = sum(map(sum, heights)) or 1.0
    shares = (f"{name.removeprefix('time/')} {sum(ys) / total:.0%}" for name, ys in zip(curves, heights, strict=True))
    return "Of all time: " + ", ".join(shares) + "."


def _finish(axes: Axes, panel: Panel) -> None:
    """Axes, grid and number formats."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: compact(v)))
    low, high = axes.get_ylim()
    if panel.style == "log" and axes.dataLim.minposy < float("inf") and high > 0:
        axes.set_yscale("log", nonpositive="mask")
        bottom = floor(log10(axes.dataLim.minposy))  # whole decades, so that at least two are labelled
        axes.set_ylim(10**bottom, 10 ** max(bottom + 1, ceil(log10(axes.dataLim.ymax))))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
        if panel.style == "share":
            axes.set_ylim(0, 1.02 if panel.title == "Held-out accuracy" else min(1.02, max(high, 0.05)))
        elif low > 0 and low < 0.7 * high:
            axes.set_ylim(0, high)
    share = PercentFormatter(1, decimals=None, symbol="%")
    axes.yaxis.set_major_formatter(share if panel.style == "share" else FuncFormatter(lambda v, _: compact(v)))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=4, labelcolor=INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GRID)


def compact(value: float) -> str:
    """Three digits and a unit: 0.25, 1.5k, 12M."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{value:.3g}"


def _clean(svg: str, title: str) -> str:
    """The bare <svg> element: colours as the page's variables, two decimals, no link, font or size of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    head = f'role="img" aria-label="{escape(title)}"'
    svg = re.sub(r"<svg[^>]*?(viewBox=\"[^\"]+\")[^>]*>", lambda tag: f"<svg {tag[1]} {head}>", svg)
    svg = re.sub(r" id=\"[a-zA-Z0-9.]+_\d+\"", "", svg)
    svg = re.sub(r"font-family: [^;\"]+;?|<g/>|<defs>\s*</defs>", "", svg)
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg)  # the numbers people read stay
    for i, colour in enumerate(COLOURS, start=1):
        svg = svg.replace(colour, f"var(--c{i})")
    svg = svg.replace(INK, "var(--muted)").replace(GRID, "var(--line)")
    return re.sub(r"\s*\n\s*", " ", svg).strip()
