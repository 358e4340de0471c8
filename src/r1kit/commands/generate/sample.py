"""Stream completions of a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from r1kit.commands.options import (
    Json,
    Length,
    ModelName,
    PromptSuffix,
    Seed,
    Stop,
    SystemPrompt,
    Temperature,
    TemplateName,
    TopP,
    print_json,
)
from r1kit.console import printable


def command(
    model: ModelName,
    question: Annotated[str | None, typer.Argument(metavar="QUESTION", help="the question")] = None,
    file: Annotated[Path | None, typer.Option(help="a file of questions: one per line, or a data file")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=100_000, help="number of completions per question")] = 1,
    template: TemplateName = "r1-zero",
    system_prompt: SystemPrompt = "",
    prompt_suffix: PromptSuffix = "",
    stop: Stop = None,
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_completion_length: Length = 512,
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Ask a model a question, or each of a file, and stream its completions."""
    from r1kit.evals import measure

    if (question is None) == (file is None):
        raise typer.BadParameter("give one question, or --file FILE")
    questions = [question] if question is not None else measure.read_questions(cast(Path, file))
    settings: dict[str, Any] = {"template": template, "temperature": temperature, "top_p": top_p, "seed": seed}
    settings |= {"system_prompt": system_prompt, "prompt_suffix": prompt_suffix, "stop": stop or []}
    pieces = measure.stream(model, questions, n=n, max_completion_length=max_completion_length, **settings)
    if json_output:
        return print_json(measure.collect(pieces, model, questions))
    shown = printable if sys.stdout.isatty() else str
    for text in measure.transcript(pieces, questions, n):
        print(shown(text), end="", flush=True)
    print()
