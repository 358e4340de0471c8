"""Show runs in a browser while they train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from r1kit.console import say
from r1kit.errors import require


def command(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="the directories of one or several runs")],
    host: Annotated[
        str, typer.Option(help="address to listen at; other machines can connect to others than 127.0.0.1")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen at; 0 takes a free one")] = 8400,
    api_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="keys, one per line, needed where other machines can connect")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="name by which a proxy reaches this server; repeatable")
    ] = None,
) -> None:
    """Serve the report of runs, live, until ^C. Reads their files only: it can start and stop at any time."""
    require("fastapi", "serve")
    require("uvicorn", "serve")
    from r1kit.watch.app import make_app
    from r1kit.watch.live import LiveRun
    from r1kit.web import server
    from r1kit.web.hosting import Hosting
    from r1kit.web.keys import load_keys

    hosting = Hosting(host, port, load_keys(api_key_file), tuple(allow_host or ()))
    app = make_app([LiveRun(directory) for directory in run_dirs])
    server.run(app, hosting, lambda url: say(f"watching {', '.join(map(str, run_dirs))} at {url} (^C ends it)"))
