"""The evaluations of a model card: tables for people, and the model index for the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from r1kit.report.benchmarks import protocol_lines
from r1kit.report.collect import Run, is_number
from r1kit.report.comparison import comparison_rows, format_cell, row_label

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

INDEXED = ("pass@1", "cons@*", "pass@*")  # metrics of the model index


@dataclass(frozen=True, slots=True)
class Table:
    """The results of some models on one benchmark."""

    benchmark: str
    amounts: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    protocol: tuple[str, ...]


def evaluations_of(run: Run, models: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    """Return the evaluations of these models by stage, in the order of the models."""
    return {stage: results for model in models for stage, results in run.evals.items() if results.get("model") == model}


def tables(evals: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Return a table for each benchmark, with a column for each evaluate stage."""
    return [_table(evals, name) for name in dict.fromkeys(n for e in evals.values() for n in e["benchmarks"])]


def _table(evals: Mapping[str, Mapping[str, Any]], benchmark: str) -> Table:
    measured = {stage: results for stage, results in evals.items() if benchmark in results["benchmarks"]}
    models = [str(results["model"]) for results in measured.values()]
    titles = [
        model if models.count(model) == 1 else f"{model} ({stage})"
        for stage, model in zip(measured, models, strict=True)
    ]
    summaries = [results["benchmarks"][benchmark] for results in measured.values()]
    rows = [
        (row_label(row), tuple(_with_interval(row.metric, cell) for cell in row.cells))
        for row in comparison_rows(measured)
        if row.benchmark == benchmark
    ]
    amounts = dict.fromkeys(
        f"{s.get('problems', 0):,} problems, {s.get('samples', 0):,} samples each" for s in summaries
    )
    return Table(
        benchmark, "; ".join(amounts), tuple(titles), tuple(rows), tuple(protocol_lines(benchmark, summaries[-1]))
    )


def _with_interval(metric: str, cell: Any) -> str:
    text, interval = format_cell(metric, cell)
    return f"{text} ({interval})" if interval else text


def model_index(evals: Mapping[str, Mapping[str, Any]], model: str) -> list[EvalResult]:
    """Return the results of one model for the metadata: the share of solved problems, and how it was sampled."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=re.sub(r"[^\w.-]+", "-", benchmark),
            dataset_name=benchmark,
            metric_type=metric,
            metric_name=metric,
            metric_value=round(value, 4),
            metric_args=_arguments(summary, metric),
        )
        for results in evals.values()
        if results.get("model") == model
        for benchmark, summary in results["benchmarks"].items()
        for metric, value in summary.items()
        if is_number(value) and any(fnmatchcase(metric, pattern) for pattern in INDEXED)
    ]


def _arguments(summary: Mapping[str, Any], metric: str) -> dict[str, Any]:
    interval = summary.get("ci95") if metric == "pass@1" else summary.get("intervals", {}).get(metric)
    protocol = summary.get("protocol") or {}
    facts = {
        "problems": summary.get("problems"),
        "samples": summary.get("samples"),
        "ci95": interval and [round(bound, 4) for bound in interval],
        **{key: protocol.get(key) for key in ("template", "temperature", "top_p", "max_completion_length")},
    }
    return {key: value for key, value in facts.items() if value is not None}
