"""RUN/report.html: one page that opens from disk, with no network, and shows what a run did.

Everything that comes from files, model text above all, is escaped here or set as text by page.js. The page's own policy
lets nothing be loaded and no script run but ours.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from r1kit.files import write_bytes
from r1kit.report.collect import Run, collect
from r1kit.report.excerpts import fit_questions, fit_rollouts, shared_questions, to_json
from r1kit.report.plots import LEFT, MAX_POINTS, RIGHT
from r1kit.report.sections import comparison, curves, empty, header, notes, section, sources, warnings

PAGE_BYTES = 2_800_000  # the size that completions may fill the page up to
QUESTION_SHARE = 0.4  # of the space for completions: at most this much for the evaluations' answers
HOW_TO_READ = (
    "Pale lines are the values as logged, bold lines their running mean. Move over a plot to read one step's values. "
    f"A plot has at most {MAX_POINTS} points: of a longer stage, neighbouring steps are drawn as one."
)


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html and return its path. UserError if `run_dir` is not a run directory."""
    page = render(collect(run_dir), run_dir)
    path = run_dir / "report.html"
    write_bytes(path, page.encode("utf-8", "replace"))
    return path


def render(run: Run, run_dir: Path) -> str:
    """The page."""
    template, style, script = (_package_file(f"page.{kind}") for kind in ("html", "css", "js"))
    drawn, plots = curves(run.stages)
    drawn = f"<p>{HOW_TO_READ}</p>{drawn}" if drawn else empty("No stage has logged a step yet.")
    before = warnings(run.stages) + comparison(run) + section("curves", "Curves", drawn)
    after = section("recipe", "Recipe and lineage", sources(run)) + notes(run)
    rest = sum(len(part.encode("utf-8", "replace")) for part in (template, style, script, before, after))
    data, browsers = _completions(run, plots, PAGE_BYTES - rest)
    return _fill(
        template,
        title=escape(f"{run.name} - r1kit report"),
        header=header(run),
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_digest(script)}'",
        body=before + browsers + after,
        directory=escape(run_dir.resolve().name),
        data=to_json(data),
    )


def _package_file(name: str) -> str:
    return files("r1kit.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """What a page's policy calls this script by."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _fill(template: str, **parts: str) -> str:
    """Every {{name}} replaced in one pass, so that what is put in is never searched itself."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _completions(run: Run, plots: Mapping[str, Any], space: int) -> tuple[dict[str, Any], str]:
    """(the page's data, the two browsers) in at most `space` bytes."""
    space = max(0, space - len(to_json(plots)))
    questions = fit_questions(shared_questions(run.stages), int(space * QUESTION_SHARE))
    rollouts, missing = fit_rollouts(run.stages, space - len(to_json(questions).encode("utf-8", "replace")))
    steps = sum(stage.rollouts_left_out for stage in run.stages)
    left_out = [f"{missing:,} completions of the steps shown"] if missing else []
    left_out += [f"{steps:,} logged steps"] if steps else []
    size = f"Left out to keep the page small: {' and '.join(left_out)}; rollouts/ has them all." if left_out else ""
    intro = (
        "What the model wrote while it was being trained. Every question is answered several times; the reward of an "
        "answer, compared with the others of its group, becomes its advantage: above 0 the answer is made likelier, "
        "below 0 less likely."
    )
    shown = sum(len(rows) for question in questions for rows in question["answers"].values())
    total = sum(stage.samples_left_out + len(stage.samples) for stage in run.stages)
    outro = (
        "The same held-out questions, answered by every evaluated model. The questions are drawn blindly; "
        f"{shown:,} of {total:,} answers are on this page, and data/samples.jsonl of each stage has them all."
    )
    first = _browser("rollouts", f"{intro} {size}") if rollouts else empty("No rollouts have been kept yet.")
    second = _browser("questions", outro) if questions else empty("No answers have been kept yet.")
    data = {"plots": plots, "axes": [LEFT, RIGHT], "rollouts": rollouts, "questions": questions}
    return data, section("rollouts", "Rollouts", first) + section("answers", "Answers, before and after", second)


def _browser(name: str, intro: str) -> str:
    """The place that page.js fills."""
    noscript = "<noscript><p>The completions need JavaScript, which is switched off.</p></noscript>"
    return f'<p>{intro}</p>{noscript}<div class="browser" data-browser="{name}"></div>'
