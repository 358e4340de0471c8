"""Score recorded outputs without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from r1kit.commands.options import Json, print_json


def command(
    benchmark: Annotated[str, typer.Argument(metavar="BENCH", help="such as mmlu_pro, drop or arena_hard")],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="recorded outputs, or a folder of them; several are read as one"),
    ],
    against: Annotated[
        str | None, typer.Option(metavar="FIELD", help="the recorded verdict to compare ours with")
    ] = None,
    problems: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the benchmark's problems, for outputs that name them by key")
    ] = None,
    json_output: Json = False,
) -> None:
    """Score recorded outputs without a model, by the rules of the benchmark's own scorer.

    Shares and scores are in percent. Agreement is the share of rows, 0 to 1, whose recorded verdict is ours.
    """
    from r1kit.evals.scoring.registry import score_files, score_lines

    scores = score_files(benchmark, files, against, problems)
    if json_output:
        print_json(scores)
    else:
        print("\n".join(score_lines(scores)))
