"""The web application of the live report: its page, and JSON about the runs that the page asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from r1kit.errors import UserError
from r1kit.report.excerpts import finite
from r1kit.watch import sections
from r1kit.watch.live import LiveRun, LiveStage
from r1kit.watch.rollouts import FILTERS, Rollouts, Step
from r1kit.web.refusal import Refused

# Bars and plots of the report have their sizes in style attributes; style elements and all other scripts are refused.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LONGEST_SEARCH = 200  # characters

Search = Annotated[str, Query(max_length=LONGEST_SEARCH)]


def make_app(runs: Sequence[LiveRun]) -> FastAPI:
    """Return the application for these runs. Their index is their number in the API."""
    app = FastAPI(title="r1kit watch", docs_url=None, redoc_url=None, openapi_url=None)
    page, report = Path(str(files("r1kit.watch") / "page")), Path(str(files("r1kit.report") / "static"))

    @app.exception_handler(Refused)
    async def refuse(request: Request, refused: Refused) -> Response:
        return Response(refused.body(), refused.status, media_type="application/json")

    @app.exception_handler(UserError)
    @app.exception_handler(OSError)
    async def later(request: Request, error: Exception) -> Response:
        """Answer that a run cannot be read: it may be about to be deleted, or to be written. The page asks again."""
        return await refuse(request, Refused(503, f"a run cannot be read at the moment: {error}"))

    @app.get("/")
    def index() -> FileResponse:
        return FileResponse(page / "index.html", headers={"Content-Security-Policy": POLICY})

    _add_sections(app, runs)
    _add_rollouts(app, runs)
    app.mount("/page", StaticFiles(directory=page))
    app.mount("/report", StaticFiles(directory=report))
    return app


def _add_sections(app: FastAPI, runs: Sequence[LiveRun]) -> None:
    @app.get("/api/runs")
    def progress() -> Response:
        return _json([asdict(live.progress()) for live in runs])

    @app.get("/api/runs/{number}/changing")
    def changing(number: int) -> Response:
        live = _run(runs, number)
        with live.lock:
            return _json(sections.changing_sections(live.with_rows()))

    @app.get("/api/runs/{number}/lasting")
    def lasting(number: int) -> Response:
        return _json(sections.lasting_sections(_run(runs, number).with_samples()))

    @app.get("/api/runs/{number}/answers")
    def answers(number: int) -> Response:
        return _json(sections.answers(_run(runs, number).with_samples()))

    @app.get("/api/runs/{number}/stages/{stage}/curves")
    def curves(number: int, stage: str) -> Response:
        live = _run(runs, number)
        kinds = {each.name: each.kind for each in live.run.stages}
        with live.lock:
            return _json(sections.curves(_stage(live, stage).log, kinds[stage]))


def _add_rollouts(app: FastAPI, runs: Sequence[LiveRun]) -> None:
    @app.get("/api/runs/{number}/stages/{stage}/rollouts")
    def rollouts(number: int, stage: str, step: int | None = None, answer: str = "", search: Search = "") -> Response:
        """Return the groups of a step, or of the newest, that pass a filter and contain a text."""
        if answer not in FILTERS:
            raise Refused(400, f"answer = {answer!r}: must be one of {', '.join(FILTERS)}", param="answer")
        files = _stage(_run(runs, number), stage).rollouts
        chosen, opened = _step(files, step)
        groups, left_out = opened.groups(answer, search.strip())
        neighbours = {"previous": files.nearest(chosen - 1), "next": next((s for s in files.steps if s > chosen), None)}
        return _json({"step": chosen, **neighbours, "counts": opened.counts(), "groups": groups, "left_out": left_out})

    @app.get("/api/runs/{number}/stages/{stage}/group")
    def group(number: int, stage: str, step: int, problem: str) -> Response:
        """Return all completions of a problem at a step, with their texts."""
        _, opened = _step(_stage(_run(runs, number), stage).rollouts, step)
        if (found := opened.group(problem)) is None:
            raise Refused(404, f"step {step} has no completions of problem {problem[:100]}")
        return _json(found)

    @app.get("/api/runs/{number}/stages/{stage}/problem")
    def problem(number: int, stage: str, problem: str, before: int | None = None) -> Response:
        """Return a part of a problem's history, and the step to go on before."""
        found, next_before = _stage(_run(runs, number), stage).rollouts.follow(problem, before)
        return _json({"groups": found, "before": next_before})


def _json(value: Any) -> Response:
    return Response(
        json.dumps(finite(value), ensure_ascii=False).encode("utf-8", "replace"), media_type="application/json"
    )


def _run(runs: Sequence[LiveRun], number: int) -> LiveRun:
    if not 0 <= number < len(runs):
        raise Refused(404, f"run {number}: there are {len(runs)} runs, from 0")
    runs[number].refresh()
    return runs[number]


def _stage(live: LiveRun, name: str) -> LiveStage:
    if name not in live.stages:
        raise Refused(404, f"{name[:100]}: no such stage of the run")
    return live.stages[name]


def _step(files: Rollouts, step: int | None) -> tuple[int, Step]:
    chosen = files.nearest(step)
    if chosen is None:
        raise Refused(404, "no step of this stage has completions yet")
    try:
        return chosen, files.open(chosen)
    except FileNotFoundError:
        raise Refused(404, f"the completions of step {chosen} were deleted") from None
