"""Warnings, curves, sources and notes of the page, as plain values for the templates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from r1kit.metrics.glossary import explain
from r1kit.metrics.modules import ModuleTime, module_times
from r1kit.metrics.watchdogs import WATCHDOGS
from r1kit.report.ancestry import describe_amendment
from r1kit.report.collect import Row, Run, Stage
from r1kit.report.plots import Chart, charts

MAX_NOTES, MAX_TEXT = 20, 20_000  # reading problems listed, and characters of a file shown


# --- warnings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AlertSummary:
    """The alerts of one watchdog in one stage."""

    watchdog: str
    stage: str
    steps: str
    text: str  # of the first alert
    remedy: str


def warnings(stages: Sequence[Stage]) -> list[AlertSummary]:
    """Return the alerts of the watchdogs, one entry per watchdog and stage."""
    items = []
    for stage in stages:
        alerts: dict[str, list[tuple[float, str]]] = {}
        for row in stage.metrics:
            for name, text in {**_alerts(row, "alerts"), **_alerts(row, "time/alerts")}.items():
                alerts.setdefault(str(name), []).append((row["step"], str(text)))
        items += [_warning(stage.name, name, steps) for name, steps in alerts.items()]
    return items


def _alerts(row: Row, key: str) -> dict[str, Any]:
    value = row.get(key)
    return value if isinstance(value, dict) else {}


def _warning(stage: str, name: str, alerts: list[tuple[float, str]]) -> AlertSummary:
    (first, text), last = alerts[0], alerts[-1][0]
    repeated = f"{len(alerts):,} times from step {first:,} to step {last:,}; the first time"
    steps = f"step {first:,}" if first == last else repeated
    return AlertSummary(name, stage, steps, text, f"{WATCHDOGS[name].remedy}." if name in WATCHDOGS else "")


# --- curves ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Legend:
    """Curves of a figure that share an explanation: (number of the colour, metric)."""

    curves: tuple[tuple[int, str], ...]
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot."""

    anchor: str
    title: str
    svg: Markup
    legends: tuple[Legend, ...]
    note: str
    hover: dict[str, Any]  # Chart.hover, for the page's cursor


@dataclass(frozen=True, slots=True)
class StageCurves:
    """The plots of one stage."""

    name: str
    kind: str
    figures: tuple[Figure, ...]
    left_out: tuple[str, ...]  # metrics without a plot
    times: tuple[ModuleTime, ...]  # of a stage with rollouts
    amendments: tuple[str, ...]  # changes of the settings, which the plots mark


def curves(stages: Sequence[Stage]) -> list[StageCurves]:
    """Return the plots of every stage that logs steps."""
    blocks: list[StageCurves] = []
    count = 0
    for stage in stages:
        if not stage.metrics:
            continue
        drawn, left_out = charts(stage.metrics, stage.name, [amendment["step"] for amendment in stage.amendments])
        figures = tuple(_figure(chart, f"plot{i}", stage.kind) for i, chart in enumerate(drawn, start=count))
        count += len(figures)
        times = tuple(module_times(stage.metrics))
        amendments = tuple(map(describe_amendment, stage.amendments))
        blocks.append(StageCurves(stage.name, stage.kind, figures, tuple(left_out), times, amendments))
    return blocks


def _figure(chart: Chart, anchor: str, kind: str) -> Figure:
    return figure_of(chart, anchor, {metric: explain(metric, kind) for metric in chart.metrics})


def figure_of(chart: Chart, anchor: str, texts: Mapping[str, str]) -> Figure:
    """Return a figure; `texts` explains its curves."""
    return Figure(anchor, chart.title, Markup(chart.svg), legends(texts, chart.metrics), chart.note, chart.hover)


def legends(texts: Mapping[str, str], metrics: Sequence[str]) -> tuple[Legend, ...]:
    """Return the explanations of a plot's curves, each once."""
    by_text: dict[str, list[tuple[int, str]]] = {}
    for i, metric in enumerate(metrics):
        by_text.setdefault(texts[metric], []).append((1 + i % 8, metric))
    return tuple(Legend(tuple(keys), text) for text, keys in by_text.items())


# --- sources and notes -----------------------------------------------------------------------------------------------


def sources(run: Run) -> list[tuple[str, str]]:
    """Return (title, text) of the files that document the run: errors, recipe, lineage and artifacts."""
    files = [(f"{stage.name}: error.txt", stage.error) for stage in run.stages]
    files += [("recipe.toml, as resolved", run.recipe_text)]
    files += [("lineage.json", _pretty(run.lineage))] if run.lineage else []
    files += [(f"{stage.name}: artifact.json", _pretty(stage.artifact)) for stage in run.stages if stage.artifact]
    return [(title, _cut(text)) for title, text in files if text]


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n[... {len(text) - MAX_TEXT:,} more characters ...]"


def notes(run: Run) -> list[str]:
    """Return what is missing from the page: unfinished stages, and files that could not be read."""
    items = [f"Stage {s.name} has not started." for s in run.stages if s.state == "not started"]
    items += [f"Stage {s.name} is under way or was interrupted." for s in run.stages if s.state == "under way"]
    items += [f"Stage {s.name} failed: {s.error.strip().splitlines()[-1]}" for s in run.stages if s.error.strip()]
    items += run.notes[:MAX_NOTES]
    if len(run.notes) > MAX_NOTES:
        items.append(f"... and {len(run.notes) - MAX_NOTES} more files or lines that could not be read.")
    return items
