"""Show runs in a browser while they train."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r1kit.commands.options import AllowHost, ApiKeyFile, Host, Port, hosting
from r1kit.console import say
from r1kit.errors import require

if TYPE_CHECKING:
    from r1kit.watch.live import LiveRun

START_SECONDS = 20.0  # from the start of `r1kit run` to its directory, on a slow machine


def command(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="the directories of one or several runs")],
    host: Host = "127.0.0.1",
    port: Port = 8400,
    api_key_file: ApiKeyFile = None,
    allow_host: AllowHost = None,
) -> None:
    """Serve the report of runs, live, until ^C. Reads their files only, so it can start and stop at any time."""
    require("fastapi", "serve")
    require("uvicorn", "serve")
    from r1kit.watch.app import make_app
    from r1kit.web import server

    where = hosting(host, port, api_key_file, allow_host, None)
    app = make_app([_open(directory) for directory in run_dirs])
    server.run(app, where, lambda url: say(f"watching {', '.join(map(str, run_dirs))} at {url} (^C ends it)"))


def _open(directory: Path) -> LiveRun:
    """Return a run, also one whose `r1kit run` was started a moment ago and has not written anything yet."""
    from r1kit.watch.live import LiveRun

    end = time.monotonic() + START_SECONDS
    if _may_start(directory):
        say(f"waiting up to {START_SECONDS:.0f} seconds for a run in {directory}")
    while _may_start(directory) and time.monotonic() < end:
        time.sleep(0.2)
    return LiveRun(directory)


def _may_start(directory: Path) -> bool:
    """Return whether `r1kit run` may be about to write its first file here: there is none, or only a hidden one."""
    return all(path.name.startswith(".") for path in directory.glob("*"))
