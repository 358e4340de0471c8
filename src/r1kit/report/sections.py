"""The parts of the report that need no script: what ran, before and after, curves, sources. Escaped HTML out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from r1kit.metrics.glossary import explain
from r1kit.metrics.watchdogs import WATCHDOGS
from r1kit.report import stage_views
from r1kit.report.collect import Row, Run, Stage, is_number
from r1kit.report.graph import lineage_graph
from r1kit.report.plots import Chart, charts, compact
from r1kit.report.stage_table import columns_of, stage_table
from r1kit.report.table import Cell, ComparisonRow, comparison_rows, metric_label, row_label, show

MAX_NOTES, MAX_TEXT = 20, 20_000  # reading problems named, and characters of recipe or lineage shown


def section(anchor: str, title: str, content: str) -> str:
    return f'<section id="{anchor}"><h2>{title}</h2>{content}</section>\n'


def empty(sentence: str) -> str:
    return f'<p class="empty">{sentence}</p>'


def duration(seconds: float) -> str:
    """42 s, 12 min 30 s, 3 h 5 min, 2 d 4 h."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    first = next(i for i, (_, size) in enumerate(units) if seconds >= size)
    (big, size), (small, part) = units[first], units[first + 1]
    rest = int(seconds % size // part)
    return f"{int(seconds // size)} {big}" + (f" {rest} {small}" if rest else "")


# --- header ----------------------------------------------------------------------------------------------------------


def header(run: Run) -> str:
    done = sum(stage.state == "done" for stage in run.stages)
    tokens = sum(s.metrics[-1]["tokens"] for s in run.stages if s.metrics and is_number(s.metrics[-1].get("tokens")))
    facts = [f"{done} of {len(run.stages)} stages done", f"{duration(sum(s.seconds for s in run.stages))} in all"]
    facts += [f"{compact(tokens)} tokens sampled in training"] if tokens else []
    stages = "".join(map(_stage_card, run.stages))
    return (
        f'<p class="eyebrow">r1kit report</p><h1>{escape(run.name)}</h1><p class="facts">{" &middot; ".join(facts)}</p>'
        f'{_headline(run)}<ol class="stages">{stages}</ol>'
        '<nav><a href="#compare">Before and after</a><a href="#curves">Curves</a>'
        '<a href="#rollouts">Rollouts</a><a href="#answers">Answers</a><a href="#recipe">Recipe</a></nav>'
    )


def _headline(run: Run) -> str:
    """pass@1 of the first and of the last evaluate stage, large."""
    tiles = []
    students = {column.stage for column in columns_of(run) if column.role.startswith("student")}
    for row in comparison_rows(run.evals):
        known = [(stage, c) for stage, c in zip(run.evals, row.cells, strict=True) if c.value is not None]
        known = [pair for pair in known if pair[0] not in students] or known
        if row.metric == "pass@1" and not row.section and len(known) > 1:
            (first, before), (last, after) = known[0], known[-1]
            tiles.append(
                f'<div class="tile"><span>{escape(row.benchmark)}, pass@1</span>'
                f"<b><i>{show('pass@1', before)[0]}</i> &rarr; {show('pass@1', after)[0]}</b>"
                f"<span>{escape(first)} &rarr; {escape(last)}</span></div>"
            )
    return f'<div class="tiles">{"".join(tiles[:4])}</div>' if tiles else ""


def _stage_card(stage: Stage) -> str:
    parents = stage.artifact.get("parents")
    made_from = f"from {', '.join(map(str, parents))}" if isinstance(parents, dict) and parents else ""
    facts = [duration(stage.seconds) if stage.seconds else "", _progress(stage), made_from]
    summary = stage.artifact.get("summary")
    scalars = summary.items() if isinstance(summary, dict) else ()
    shown = [(k, v) for k, v in scalars if isinstance(v, str | int | float)][:4]
    extra = "".join(f"<div><dt>{escape(str(k))}</dt><dd>{escape(_scalar(v))}</dd></div>" for k, v in shown)
    about = escape(" · ".join(fact for fact in facts if fact))
    return (
        f'<li class="{stage.state.replace(" ", "-")}"><span class="kind">{escape(stage.kind)}, {stage.state}</span>'
        f"<strong>{escape(stage.name)}</strong><small>{about}</small>{f'<dl>{extra}</dl>' if extra else ''}</li>"
    )


def _scalar(value: Any) -> str:
    return compact(value) if is_number(value) else str(value)[:80]


def _progress(stage: Stage) -> str:
    planned = stage.config.get("steps")
    if stage.state == "done" and isinstance(planned, int):
        return f"{planned:,} steps"
    if not stage.metrics:
        return ""
    return f"step {stage.metrics[-1]['step']:,}" + (f" of {planned:,}" if isinstance(planned, int) else "")


# --- warnings --------------------------------------------------------------------------------------------------------


def warnings(stages: Sequence[Stage]) -> str:
    """What the watchdogs saw: each once a stage, at which steps, and what to do about it."""
    items = []
    for stage in stages:
        seen: dict[str, list[tuple[float, str]]] = {}
        for row in stage.metrics:
            for name, text in {**_table_in(row, "alerts"), **_table_in(row, "time/alerts")}.items():
                seen.setdefault(str(name), []).append((row["step"], str(text)))
        items += [_warning(stage.name, name, found) for name, found in seen.items()]
    return section("warnings", "Warnings", f"<ul>{''.join(items)}</ul>") if items else ""


def _table_in(row: Row, key: str) -> dict[str, Any]:
    value = row.get(key)
    return value if isinstance(value, dict) else {}


def _warning(stage: str, name: str, found: list[tuple[float, str]]) -> str:
    (first, text), last = found[0], found[-1][0]
    steps = f"step {first}" if first == last else f"{len(found)} times from step {first} to {last}, first"
    remedy = f" {WATCHDOGS[name].remedy}." if name in WATCHDOGS else ""
    return f"<li><b>{escape(name)}</b> in {escape(stage)}, {steps}: {escape(text)}.{escape(remedy)}</li>"


# --- before and after ------------------------------------------------------------------------------------------------


def comparison(run: Run) -> str:
    rows = comparison_rows(run.evals)
    if not rows:
        return section("compare", "Before and after", empty("No evaluate stage has written its results yet."))
    benchmarks = dict.fromkeys(row.benchmark for row in rows)
    tables = "".join(_table(run, [row for row in rows if row.benchmark == name]) for name in benchmarks)
    metrics = dict.fromkeys(row.metric for row in rows)
    meanings = "".join(f"<div><dt>{escape(metric_label(m))}</dt><dd>{escape(explain(m))}</dd></div>" for m in metrics)
    words = f'<details class="words"><summary>What the numbers mean</summary><dl>{meanings}</dl></details>'
    stages = stage_table(run)
    every = stage_views.html(stages) if stage_views.has_several(stages) else ""
    return section("compare", "Before and after", every + tables + words)


def _table(run: Run, rows: list[ComparisonRow]) -> str:
    summaries = [results["benchmarks"].get(rows[0].benchmark) for results in run.evals.values()]
    sizes = {f"{s.get('problems')} problems, {s.get('samples')} samples each" for s in summaries if isinstance(s, dict)}
    head = "".join(f'<th scope="col">{escape(stage)}</th>' for stage in run.evals)
    body, section = [], ""
    for row in rows:
        if row.section != section:
            section = row.section
            body.append(f'<tr class="sub"><th colspan="{len(run.evals) + 1}">pass@1 by {section}</th></tr>')
        cells = "".join(f"<td>{_number(row.metric, cell)}</td>" for cell in row.cells)
        body.append(f'<tr><th scope="row">{escape(row_label(row))}</th>{cells}</tr>')
    size = escape("; ".join(sorted(sizes)))
    return (
        f'<div class="scroll"><table><caption>{escape(rows[0].benchmark)} <small>{size}</small></caption>'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _number(metric: str, cell: Cell) -> str:
    """The number, its interval, and for shares a bar with the interval as a whisker."""
    number, interval = show(metric, cell)
    text = f"<span><b>{number}</b>" + (f" <small>{interval}</small>" if interval else "") + "</span>"
    if cell.value is None or metric == "mean_tokens":
        return text
    bar = f'<i style="width:{100 * min(1, max(0, cell.value)):.1f}%"></i>'
    if cell.low is not None and cell.high is not None:
        bar += f'<u style="left:{100 * cell.low:.1f}%;width:{100 * (cell.high - cell.low):.1f}%"></u>'
    return f'<div class="number">{text}<span class="bar">{bar}</span></div>'


# --- curves ----------------------------------------------------------------------------------------------------------


def curves(stages: Sequence[Stage]) -> tuple[str, dict[str, Any]]:
    """The charts of every stage that logs steps, and what the page's cursor needs of each: {figure id: hover}."""
    blocks: list[str] = []
    plots: dict[str, Any] = {}
    for stage in stages:
        if not stage.metrics:
            continue
        drawn, left_out = charts(stage.metrics, stage.name)
        figures = {f"plot{i}": chart for i, chart in enumerate(drawn, start=len(plots))}
        plots |= {anchor: chart.hover for anchor, chart in figures.items()}
        blocks.append(
            f'<h3>{escape(stage.name)} <span class="kind">{escape(stage.kind)}</span></h3><div class="charts">'
        )
        blocks += [_figure(chart, anchor, stage.kind) for anchor, chart in figures.items()]
        blocks.append("</div>")
        blocks += [f"<p>Also logged, not drawn: {escape(', '.join(left_out))}.</p>"] if left_out else []
    return "".join(blocks), plots


def _figure(chart: Chart, anchor: str, kind: str) -> str:
    meanings: dict[str, list[str]] = {}  # explanation -> the keys of the curves it is about
    for i, metric in enumerate(chart.metrics):
        key = f'<span class="key"><i style="background:var(--c{1 + i % 8})"></i>{escape(metric)}</span>'
        meanings.setdefault(explain(metric, kind), []).append(key)
    legend = "".join(f"<p>{' '.join(keys)} {escape(text)}</p>" for text, keys in meanings.items())
    note = f'<p class="note">{escape(chart.note)}</p>' if chart.note else ""
    return (
        f'<figure id="{anchor}"><figcaption>{escape(chart.title)}<output></output></figcaption>'
        f'<div class="plot"><hr>{chart.svg}</div>{legend}{note}</figure>'
    )


# --- sources and notes -----------------------------------------------------------------------------------------------


def sources(run: Run) -> str:
    """The lineage drawn, and every file that says what made what."""
    blocks = [("recipe.toml, as resolved", run.recipe_text)]
    blocks += [("lineage.json", json.dumps(run.lineage, indent=2, ensure_ascii=False))] if run.lineage else []
    blocks += [
        (f"{stage.name}: artifact.json", json.dumps(stage.artifact, indent=2, ensure_ascii=False))
        for stage in run.stages
        if stage.artifact
    ]
    blocks = [(f"{stage.name}: error.txt", stage.error) for stage in run.stages] + blocks
    return lineage_graph(run) + "".join(
        f"<details><summary>{escape(title)}</summary><pre>{escape(_cut(text))}</pre></details>"
        for title, text in blocks
        if text
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n[... {len(text) - MAX_TEXT:,} more characters ...]"


def notes(run: Run) -> str:
    """What is missing or could not be read."""
    notes = [f"Stage {s.name} has not started." for s in run.stages if s.state == "not started"]
    notes += [f"Stage {s.name} is under way or was interrupted." for s in run.stages if s.state == "under way"]
    notes += [f"Stage {s.name} failed: {s.error.strip().splitlines()[-1]}" for s in run.stages if s.error.strip()]
    notes += run.notes[:MAX_NOTES]
    notes += [f"... and {len(run.notes) - MAX_NOTES} more files or lines that could not be read."] * (
        len(run.notes) > MAX_NOTES
    )
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return section("notes", "Not on this page", f"<ul>{items}</ul>") if items else ""
