"""Show runs in a browser while they train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from r1kit.commands.options import AllowHost, ApiKeyFile, Host, Port, hosting
from r1kit.console import say
from r1kit.errors import require


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
    from r1kit.watch.live import LiveRun
    from r1kit.web import server

    where = hosting(host, port, api_key_file, allow_host, None)
    app = make_app([LiveRun(directory) for directory in run_dirs])
    server.run(app, where, lambda url: say(f"watching {', '.join(map(str, run_dirs))} at {url} (^C ends it)"))
