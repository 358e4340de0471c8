"""Publish a model on the Hugging Face hub, or write what would be published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from r1kit.commands import completion
from r1kit.commands.options import Json, print_json
from r1kit.errors import UserError


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the directory of a run")],
    stage: Annotated[
        str,
        typer.Argument(metavar="STAGE", help="a finished stage that makes a model", autocompletion=completion.stages),
    ],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="the repository")],
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write it to a directory instead of uploading it")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="make a new repository private")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="replace files of the same names in an existing repository")
    ] = False,
    licence: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="the model's license; default: its base's if known")
    ] = None,
    json_output: Json = False,
) -> None:
    """Publish a model on the Hugging Face hub, with a model card written from its run.

    Uploads the checkpoint, README.md, recipe.toml and the results of its evaluations. Look at them first with --to.
    """
    from r1kit.run.outputs import publish

    if licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
        raise UserError(f"--license {licence}: must be an identifier of the hub, such as apache-2.0, mit or other")
    if to is not None and (private or update):
        raise UserError("--private and --update are about a repository on the hub: leave them out with --to")
    if to is not None:
        target = publish.publish_to_directory(run_dir, stage, repository, to, licence)
        return print_json({"directory": str(target)}) if json_output else print(target)
    url = publish.publish_to_hub(run_dir, stage, repository, private=private, update=update, licence=licence)
    print_json({"url": url}) if json_output else print(url)
