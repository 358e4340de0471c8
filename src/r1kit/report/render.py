"""RUN/report.html: one self-contained page about a run, which opens from disk without network.

Sections are plain values (header.py, results.py, sections.py, graph.py), which templates/*.html turn into HTML; Jinja
escapes all of them. Completions are embedded as JSON, and static/*.js insert them as text. The page's content security
policy blocks all loading, and all scripts but these.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from r1kit.console import heartbeat
from r1kit.files import write_bytes
from r1kit.report.collect import Run, collect
from r1kit.report.excerpts import fit_questions, fit_rollouts, shared_questions, to_json
from r1kit.report.graph import lineage_graph
from r1kit.report.header import header
from r1kit.report.plots import LEFT, MAX_POINTS, RIGHT
from r1kit.report.results import results
from r1kit.report.sections import curves, notes, sources, warnings
from r1kit.run_dir import RunDir

SCRIPTS = ("parts.js", "browser.js", "page.js")  # modules of static/, each after those that it imports
PAGE_BYTES = 2_800_000  # completions fill the page up to this size
QUESTION_SHARE = 0.4  # largest share of the completions' space for the answers of the evaluations beside rollouts


@dataclass(frozen=True, slots=True)
class Completions:
    """The rollouts and answers on the page, and how many are left out."""

    rollouts: Mapping[str, Any]
    questions: list[dict[str, Any]]
    missing: int  # completions left out of the steps on the page
    missing_steps: int  # logged steps left out
    shown_answers: int
    all_answers: int


NO_COMPLETIONS = Completions({}, [], 0, 0, 0, 0)


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html and return its path. UserError if `run_dir` is not a run directory."""
    with heartbeat("writing the report"):
        page = render(collect(run_dir), run_dir)
    path = RunDir(run_dir).report
    write_bytes(path, page.encode("utf-8", "replace"))
    return path


def render(run: Run, run_dir: Path) -> str:
    """Return the page's HTML."""
    style, script = static_file("page.css"), _script()
    blocks, measured = curves(run.stages), results(run)
    figures = [figure for block in blocks for figure in block.figures]
    figures += [figure for table in measured.tables for figure in table.figures]
    template = environment().get_template("page.html")
    view = {
        "title": f"{run.name} - r1kit report",
        "policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_digest(script)}'",
        "style": Markup(style),
        "script": Markup(script),
        "directory": run_dir.resolve().name,
        "header": header(run),
        "warnings": warnings(run.stages),
        "results": measured,
        "curves": blocks,
        "max_points": MAX_POINTS,
        "lineage": lineage_graph(run),
        "sources": sources(run),
        "notes": notes(run),
    }

    def page(completions: Completions) -> str:
        plots = {figure.anchor: figure.hover for figure in figures}
        data = {"plots": plots, "axes": [LEFT, RIGHT]}
        data |= {"rollouts": completions.rollouts, "questions": completions.questions}
        return template.render(view, completions=completions, data=Markup(to_json(data)))

    without = page(NO_COMPLETIONS)
    return page(_completions(run, PAGE_BYTES - len(without.encode("utf-8", "replace"))))


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates of the report."""
    return Environment(
        loader=PackageLoader("r1kit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def static_file(name: str) -> str:
    """Return a style sheet or a script of the report."""
    return files("r1kit.report").joinpath("static", name).read_text(encoding="utf-8")


def _script() -> str:
    """Return the modules of the page as one script, because a page opened from disk cannot import files."""
    text = "\n".join(map(static_file, SCRIPTS))
    return '"use strict";\n' + re.sub(r"^(import .*\n|export )", "", text, flags=re.MULTILINE)


def _digest(script: str) -> str:
    """Return the script's hash as content security policies write it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _completions(run: Run, space: int) -> Completions:
    """Choose the completions that fit into `space` bytes."""
    space = max(0, space)
    share = QUESTION_SHARE if any(stage.rollouts for stage in run.stages) else 1
    questions = fit_questions(shared_questions(run.stages), int(space * share))
    rollouts, missing = fit_rollouts(run.stages, space - len(to_json(questions).encode("utf-8", "replace")))
    return Completions(
        rollouts,
        questions,
        missing,
        missing_steps=sum(stage.rollouts_left_out for stage in run.stages),
        shown_answers=sum(len(rows) for question in questions for rows in question["answers"].values()),
        all_answers=sum(stage.samples_left_out + len(stage.samples) for stage in run.stages),
    )
