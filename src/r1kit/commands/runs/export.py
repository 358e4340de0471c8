"""Write a checkpoint as a Hugging Face model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from r1kit.commands import completion
from r1kit.commands.options import Json, print_json


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the directory of a run")],
    stage: Annotated[
        str,
        typer.Argument(
            metavar="STAGE", help="a stage that trains: rl, sft or pretrain", autocompletion=completion.stages
        ),
    ],
    step: Annotated[int | None, typer.Option(metavar="N", help="a step with a checkpoint; default: the newest")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="the directory to write; default: RUN_DIR/exports/STAGE-step-N")
    ] = None,
    json_output: Json = False,
) -> None:
    """Write a checkpoint of a stage as a Hugging Face model, also while the stage is unfinished.

    Prints the directory. The newest checkpoints of a stage are kept, every `save_every` steps.
    """
    from r1kit.run.outputs.export import export

    target = export(run_dir, stage, step, out)
    print_json({"model": str(target)}) if json_output else print(target)
