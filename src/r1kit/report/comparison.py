"""The numbers of all evaluate stages side by side: records, and how they are written for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from r1kit.report.collect import is_number

METRICS = (
    *("pass@1", "cons@*", "pass@*", "prompt_*", "instruction_*", "format_rate", "readable", "language", "mean_tokens"),
    *("mean_thinking_tokens", "mean_answer_tokens", "truncated", "unparsed", "rewards/*"),
)
SECTIONS = {"by_level": "level", "by_family": "family", "by_language": "language"}
LABELS = {
    "format_rate": "format rate",
    "language": "language consistency",
    "mean_tokens": "mean tokens",
    "mean_thinking_tokens": "mean tokens of thinking",
    "mean_answer_tokens": "mean tokens of the answer",
    "prompt_strict": "prompts followed, strict",
    "prompt_loose": "prompts followed, loose",
    "instruction_strict": "instructions followed, strict",
    "instruction_loose": "instructions followed, loose",
    "win_rate": "preferred to R1-Zero",
    "win_rate_base": "preferred to the base",
    "gain": "gain of majority voting",
}


ByProblem = Mapping[str, float]  # problem -> value


@dataclass(frozen=True, slots=True)
class Cell:
    """One number, with its 95 % confidence interval if it has one."""

    value: float | None
    low: float | None = None
    high: float | None = None
    runs: tuple[ByProblem, ...] = field(default=(), compare=False, repr=False)  # of a mean of several runs: all of them

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval (low, high)."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One line of the table: a metric of a benchmark, or its pass@1 on one group of problems."""

    benchmark: str
    section: str  # "" for the complete benchmark, else "level", "family" or "language"
    group: str  # the level, family or language
    metric: str
    cells: tuple[Cell, ...]  # one per evaluate stage


def comparison_rows(evals: Mapping[str, Mapping[str, Any]]) -> list[ComparisonRow]:
    """Return the table's lines.

    Args:
        evals: stage -> {"model", "benchmarks": {name: summary}}, in the order of the columns. A summary that lacks a
            metric gives an empty cell.
    """
    stages = [results["benchmarks"] for results in evals.values()]
    rows = []
    for benchmark in dict.fromkeys(name for s in stages for name in s):
        summaries = [_as_mapping(s.get(benchmark)) for s in stages]
        keys = list(dict.fromkeys(key for s in summaries for key in s))
        for metric in dict.fromkeys(k for pattern in METRICS for k in keys if fnmatchcase(k, pattern)):
            rows.append(ComparisonRow(benchmark, "", "", metric, tuple(_cell(s, metric) for s in summaries)))
        for key, section in SECTIONS.items():
            tables = [_as_mapping(s.get(key)) for s in summaries]
            for group in sorted({g for t in tables for g in t}, key=_natural):
                cells = tuple(_cell(_as_mapping(t.get(group)), "pass@1") for t in tables)
                rows.append(ComparisonRow(benchmark, section, group, "pass@1", cells))
    return rows


def _as_mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _natural(name: str) -> tuple[bool, int, str]:
    """Sort numbers by value, so that level 10 follows level 9."""
    return (True, int(name), "") if name.isdecimal() else (False, 0, name)


def _cell(summary: Mapping[str, Any], metric: str) -> Cell:
    value, intervals = summary.get(metric), _as_mapping(summary.get("intervals"))
    interval = summary.get("ci95") if metric == "pass@1" else intervals.get(metric)
    if not is_number(value):
        return Cell(None)
    if isinstance(interval, list) and len(interval) == 2 and all(map(is_number, interval)):
        return Cell(value, *interval)
    return Cell(value)


def format_cell(metric: str, cell: Cell) -> tuple[str, str]:
    """Return the number and its interval as text: ("76.2 %", "73-79") for a share, ("212", "") for tokens."""
    if cell.value is None:
        return "-", ""
    if metric.startswith("rewards/"):  # of a function of the user's own, which may have any range
        return f"{cell.value:.4g}", "-".join(f"{bound:.4g}" for bound in cell.interval or ())
    tokens = metric.endswith("_tokens")
    interval = "-".join(f"{bound if tokens else 100 * bound:,.0f}" for bound in cell.interval or ())
    if tokens:
        return f"{cell.value:,.0f}" if cell.value >= 100 else f"{cell.value:.1f}", interval
    return f"{100 * cell.value:.1f} %", interval


def row_label(row: ComparisonRow) -> str:
    """Return the heading of a row."""
    if not row.section:
        return metric_label(row.metric)
    return f"level {row.group}" if row.section == "level" else row.group


def metric_label(metric: str) -> str:
    """Return the metric's name in tables."""
    return LABELS.get(metric, metric)
