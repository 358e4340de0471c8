"""The sections of a live report: the same templates as report.html, and curves as numbers that the page draws."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from r1kit.metrics.glossary import explain
from r1kit.metrics.modules import module_times
from r1kit.report.collect import Run
from r1kit.report.excerpts import fit_questions, shared_questions
from r1kit.report.graph import lineage_graph
from r1kit.report.header import header
from r1kit.report.plots import LEFT, RIGHT, Panel, arrange, thin
from r1kit.report.render import environment
from r1kit.report.results import results
from r1kit.report.sections import legends, notes, sources, warnings
from r1kit.watch.stage_log import StageLog

ANSWER_BYTES = 1_200_000  # of held-out answers that are sent


def changing_sections(run: Run) -> dict[str, Any]:
    """Return the HTML of the sections that may change with every step."""
    alerts = warnings(run.stages)
    return {
        "html": {
            "header": _render("header", header=header(run)),
            "warnings": _render("warnings", warnings=alerts),
            "notes": _render("notes", notes=notes(run)),
        },
        "alerts": [f"{alert.watchdog} in {alert.stage}: {alert.text}" for alert in alerts],
    }


def lasting_sections(run: Run) -> dict[str, Any]:
    """Return the HTML of the sections that change when a stage starts or ends, and the values of their plots."""
    measured = results(run)
    figures = [figure for table in measured.tables for figure in table.figures]
    return {
        "html": {
            "results": _render("results", results=measured),
            "sources": _render("sources", lineage=lineage_graph(run), sources=sources(run)),
        },
        "plots": {figure.anchor: figure.hover for figure in figures},
        "axes": [LEFT, RIGHT],
    }


def _render(template: str, **values: Any) -> str:
    return environment().get_template(f"{template}.html").render(**values)


def answers(run: Run) -> list[dict[str, Any]]:
    """Return held-out questions with the answers of every evaluate stage, as many as are sent."""
    return fit_questions(shared_questions(run.stages), ANSWER_BYTES)


def curves(log: StageLog, kind: str) -> dict[str, Any]:
    """Return the panels of a stage with their curves, thinned as in the report, and the time of its modules."""
    panels, left_out = arrange(log.metrics)
    return {
        "panels": [_panel(panel, names, log, kind) for panel, names in panels],
        "left_out": left_out,
        "times": [asdict(time) for time in module_times(list(log.rows("time/")))],
        "axes": [LEFT, RIGHT],
    }


def _panel(panel: Panel, names: list[str], log: StageLog, kind: str) -> dict[str, Any]:
    texts = {name: explain(name, kind) for name in names}
    thinned = {name: thin(name, log.points(name)) for name in names}
    return {
        "title": panel.title,
        "style": panel.style,
        "smooth": panel.smooth,
        "curves": {name: {"x": x, "y": y} for name, (x, y) in thinned.items()},
        "legends": [
            {"metrics": [metric for _, metric in legend.curves], "text": legend.text}
            for legend in legends(texts, names)
        ],
    }
