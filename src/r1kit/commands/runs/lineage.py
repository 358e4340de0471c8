"""Show the origins of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from r1kit.commands import completion
from r1kit.commands.options import Json, print_json


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the directory of a run")],
    stage: Annotated[
        str | None,
        typer.Argument(metavar="STAGE", help="one stage; default: all", autocompletion=completion.stages),
    ] = None,
    json_output: Json = False,
) -> None:
    """Show the data, models and code that a run or one of its stages was made from."""
    from r1kit.report import ancestry

    origins = ancestry.trace(run_dir, stage)
    if json_output:
        print_json(origins)
    else:
        print(ancestry.render(origins))
