"""The results section of the page: the tables of all evaluate stages, as plain values for its template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from r1kit.evals.metrics import Z95
from r1kit.metrics.glossary import explain
from r1kit.report.benchmarks import SHOWN_MODELS, beside_paper, protocol_lines
from r1kit.report.collect import Run, is_number
from r1kit.report.comparison import Cell, ComparisonRow, comparison_rows, format_cell, metric_label, row_label
from r1kit.report.plots import Panel, draw
from r1kit.report.sections import Figure, figure_of
from r1kit.report.stage_table import shows_several_models, stage_table
from r1kit.report.stage_views import FINDING_HEADINGS, FindingLine, Line, finding_lines, table_lines


@dataclass(frozen=True, slots=True)
class Number:
    """A number with its interval; shares also have a bar. Positions are percentages of the bar's width."""

    text: str
    interval: str
    bar: float | None = None
    whisker: tuple[float, float] | None = None  # left end and width of the interval


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of a benchmark's table."""

    section: str
    label: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class BenchmarkTable:
    """The results of all evaluate stages on one benchmark."""

    benchmark: str
    size: str
    rows: tuple[TableRow, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class StagesTable:
    """The results of all models, and the paper's findings."""

    titles: tuple[str, ...]
    lines: tuple[Line, ...]
    finding_headings: tuple[str, ...]
    findings: tuple[FindingLine, ...]


@dataclass(frozen=True, slots=True)
class PaperTable:
    """Our numbers beside the paper's: in per cent, except ratings and points."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, list[str]], ...]


@dataclass(frozen=True, slots=True)
class Results:
    """What the template results.html shows."""

    stages: tuple[str, ...]
    all_models: StagesTable | None
    tables: tuple[BenchmarkTable, ...]
    paper: PaperTable
    protocols: tuple[tuple[str, str], ...]  # (stage, how its numbers were measured)
    meanings: tuple[tuple[str, str], ...]  # (metric, explanation)


# Key of a summary -> its plot, the key and the name of the x axis, and an explanation.
FIGURES = {
    "vote_curve": (
        Panel("Majority voting", (), "share", smooth=False, x="voters", log_x=True),
        "voters",
        "Accuracy of the majority of m sampled answers by m: cons@m, the mean over all choices of m answers. "
        "The first point is pass@1.",
    ),
    "by_length": (
        Panel("Accuracy by length", (), "share", smooth=False, x="tokens"),
        "mean_tokens",
        "Share of correct answers by length in tokens. Every point has about equally many answers; the last ones hold "
        "those that were cut off.",
    ),
}


def results(run: Run) -> Results:
    """Return the tables of the run's evaluate stages."""
    rows = comparison_rows(run.evals)
    benchmarks = dict.fromkeys(row.benchmark for row in rows)
    tables = [_benchmark_table(run, [row for row in rows if row.benchmark == name]) for name in benchmarks]
    metrics = dict.fromkeys(row.metric for row in rows)
    all_models = None
    table = stage_table(run)
    if shows_several_models(table):
        titles = tuple(column.title for column in table.columns)
        lines = tuple(table_lines(table.rows, table.columns))
        all_models = StagesTable(titles, lines, FINDING_HEADINGS, tuple(finding_lines(table)))
        metrics |= dict.fromkeys(row.metric for row in table.rows)
    meanings = tuple((metric_label(metric), explain(metric)) for metric in metrics)
    summaries = {
        stage: {name: summary for name, summary in evaluation["benchmarks"].items() if isinstance(summary, dict)}
        for stage, evaluation in run.evals.items()
    }
    paper = PaperTable((*summaries, *SHOWN_MODELS), tuple(beside_paper(list(summaries.values()))))
    texts = {
        stage: "\n".join(line for name, summary in own.items() for line in protocol_lines(name, summary))
        for stage, own in summaries.items()
    }
    protocols = tuple((stage, text) for stage, text in texts.items() if text)
    return Results(tuple(run.evals), all_models, tuple(tables), paper, protocols, meanings)


def _benchmark_table(run: Run, rows: list[ComparisonRow]) -> BenchmarkTable:
    benchmark = rows[0].benchmark
    summaries = [results["benchmarks"].get(benchmark) for results in run.evals.values()]
    sizes = {_size(summary) for summary in summaries if isinstance(summary, dict)}
    lines = [TableRow(r.section, row_label(r), tuple(_number(r.metric, cell) for cell in r.cells)) for r in rows]
    by_stage = {s: each for s, each in zip(run.evals, summaries, strict=True) if isinstance(each, dict)}
    return BenchmarkTable(benchmark, "; ".join(sorted(sizes)), tuple(lines), tuple(_figures(benchmark, by_stage)))


def _figures(benchmark: str, summaries: Mapping[str, Mapping[str, Any]]) -> Iterator[Figure]:
    """Yield the plots of one benchmark with a curve for each evaluate stage."""
    for key, (panel, x, text) in FIGURES.items():
        points = {stage: summary[key] for stage, summary in summaries.items() if len(summary.get(key, ())) > 1}
        if points:
            curves = {stage: ([p[x] for p in own], [p["accuracy"] for p in own]) for stage, own in points.items()}
            bands = {stage: [Z95 * (p["standard_error"] or 0) for p in own] for stage, own in points.items()}
            chart = draw(panel, curves, benchmark, bands)
            yield figure_of(chart, f"{key}-{benchmark}", dict.fromkeys(curves, text))


def _size(summary: dict[str, Any]) -> str:
    counts = (summary.get(key) for key in ("problems", "samples"))
    problems, samples = (f"{n:,}" if is_number(n) else str(n) for n in counts)
    return f"{problems} problems, {samples} samples each"


def _number(metric: str, cell: Cell) -> Number:
    text, interval = format_cell(metric, cell)
    if cell.value is None or metric.endswith("_tokens"):
        return Number(text, interval)
    whisker = None
    if cell.interval is not None:
        low, high = cell.interval
        whisker = (100 * low, 100 * (high - low))
    return Number(text, interval, 100 * min(1, max(0, cell.value)), whisker)
