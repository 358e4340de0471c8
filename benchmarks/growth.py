"""Measure how the phases of a GRPO step scale with completions, length, layers and vocabulary.

make bench NAME=growth

One size varies at a time, starting from 128 completions of 64 tokens, 4 layers and a vocabulary of 768, in the dtype
that `r1kit doctor` chooses. A line is fitted by least squares. The plot is written to docs/growth.svg.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from compare import ROOT, Turns, arguments, finish, say, table, worker
from grpo_step import Size, make_trainer, rl_config
from models import SHAPES, write

from r1kit.machine import choose_dtype

PHASES = ("rollout", "update")
AXES = {
    "completions": [64, 128, 256, 512, 1024],
    "tokens per completion": [32, 64, 128, 256, 512],
    "layers": [2, 4, 8, 16],
    "vocabulary": [768, 4096, 16_384, 65_536],
}
QUICK = {"completions": [16, 32], "layers": [1, 2]}


@dataclass(frozen=True)
class Point:
    """The sizes of one measurement."""

    answers: int = 128
    tokens: int = 64
    layers: int = 4
    vocabulary: int = 768


FIELDS = {"completions": "answers", "tokens per completion": "tokens"}  # axis -> field of Point, if it differs


def seconds(point: Point, directory: Path, steps: int) -> dict[str, float]:
    """Return medians over steps after a warm-up step."""
    shape = replace(SHAPES["3.2M"], num_hidden_layers=point.layers, vocab_size=point.vocabulary)
    model = write(shape, directory / "model")
    trainer = make_trainer(
        model, directory, rl_config(Size(point.answers // 16, 16, point.tokens)), choose_dtype("cpu")
    )
    trainer.advance()
    rows = [trainer.advance() for _ in range(steps)]
    return {phase: median(row[f"time/{phase}"] for row in rows) for phase in PHASES}


def line(xs: list[int], ys: list[float]) -> tuple[float, float, float]:
    """Return (intercept, slope, R^2) of the least-squares line."""
    import numpy as np

    slope, intercept = np.polyfit(xs, ys, 1)
    left = np.asarray(ys) - (intercept + slope * np.asarray(xs))
    spread = np.asarray(ys) - np.mean(ys)
    return float(intercept), float(slope), float(1 - (left @ left) / (spread @ spread))


def plot(results: dict[str, dict[str, list[float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(results), figsize=(3.2 * len(results), 3), layout="constrained")
    for panel, (axis, one) in zip(panels, results.items(), strict=True):
        for phase in PHASES:
            intercept, slope, _ = line(one["x"], one[phase])
            (dots,) = panel.plot(one["x"], one[phase], "o", label=phase)
            ends = [one["x"][0], one["x"][-1]]
            panel.plot(ends, [intercept + slope * x for x in ends], "-", color=dots.get_color(), linewidth=1)
        panel.set(xlabel=axis, xlim=(0, None), ylim=(0, None))
    panels[0].set_ylabel("seconds per step")
    panels[0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def contend(axes: dict[str, list[int]], repeats: int) -> None:
    turns = Turns()
    turns.done()
    steps = max(1, repeats // 2)
    for axis, xs in axes.items():
        for x in xs:
            with TemporaryDirectory() as directory:
                turns.done(x=x, **seconds(replace(Point(), **{FIELDS.get(axis, axis): x}), Path(directory), steps))


def main() -> None:
    args = arguments(__doc__).parse_args()
    axes = QUICK if args.quick else AXES
    if args.worker:
        return contend(axes, args.repeats)
    results: dict[str, dict[str, list[float]]] = {}
    options = ["--quick", "--repeats", "1"] if args.quick else ["--repeats", str(args.repeats)]
    with worker(__file__, "r1kit", *options) as one:
        for axis, xs in axes.items():
            points = [one.turn() for _ in xs]
            results[axis] = {key: [point[key] for point in points] for key in ("x", *PHASES)}
            say(f"{axis}: {json.dumps(results[axis])}")
    rows, worst = [], 0.0
    for axis, measured in results.items():
        xs = measured["x"]
        for phase in PHASES:
            ys = measured[phase]
            _, _, fit = line(xs, ys)
            growth, proportional = ys[-1] / ys[0], xs[-1] / xs[0]
            worst = max(worst, growth / proportional)
            rows.append([f"{axis}, {phase}", f"{xs[0]:,} to {xs[-1]:,}", ys[0], ys[-1], growth, proportional, fit])
    head = ["", "from, to", "s", "s", "time factor", "size factor", "R2 of a line"]
    page = table(head, rows)
    if not args.quick:
        plot(results, ROOT / "docs" / "growth.svg")
        page += "\n\n![Seconds per step against each size](growth.svg)"
    finish("growth", worst, 1.0, "largest time factor / size factor", page, results, args.quick, more_is_better=False)


if __name__ == "__main__":
    main()
