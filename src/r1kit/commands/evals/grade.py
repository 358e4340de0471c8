"""Grade a file of answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from r1kit.console import say


def command(
    answers: Annotated[Path | None, typer.Argument(metavar="FILE", help="JSON Lines; default: standard input")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="worker processes; default: one per core")
    ] = None,
    sandbox: Annotated[str, typer.Option(help="auto, wasm, namespaces, landlock, or none (no protection)")] = "auto",
    judge_url: Annotated[str | None, typer.Option(help="OpenAI-compatible endpoint for lines of kind judge")] = None,
    judge_model: Annotated[str, typer.Option(help="the model at that endpoint")] = "default",
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 if any line could not be graded")] = False,
) -> None:
    """Grade a file of answers: one verdict per line as JSON (there is no --json), in the same order.

    Each line is an object with kind, response and the fields of its kind, such as gold, options, tests or constraints.
    A blank line between others gets a verdict without a score. Exits with 1 if no line could be graded.
    """
    from r1kit.rewards.grade_file import grade_stream
    from r1kit.rewards.judge.endpoint import Endpoint
    from r1kit.rewards.sandbox import require_name
    from r1kit.rewards.services import Settings

    require_name(sandbox)
    settings = Settings(sandbox, judge=Endpoint(judge_url, judge_model) if judge_url else None)
    with sys.stdin.buffer if answers is None else answers.open("rb") as source:
        try:
            counts = grade_stream(source, sys.stdout.buffer, workers or os.cpu_count() or 1, settings)
        except BrokenPipeError:  # the reader closed the pipe, as in `r1kit grade FILE | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
    say(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())) or "no lines to grade")
    if counts["right"] + counts["wrong"] == 0 or (strict and counts["not graded"]):
        raise typer.Exit(1)
