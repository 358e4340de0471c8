"""Evaluate a model on benchmarks."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

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
from r1kit.console import say


def command(
    model: ModelName,
    prompts: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="world:NAME, a file or a hub dataset; repeatable; default: every world"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="split of the sources; default: held_out for worlds, test for others")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="the first N problems of each source")] = None,
    samples: Annotated[int, typer.Option(min=1, max=100_000, help="completions per problem")] = 4,
    template: TemplateName = "r1-zero",
    system_prompt: SystemPrompt = "",
    prompt_suffix: PromptSuffix = "",
    stop: Stop = None,
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_completion_length: Length = 512,
    seed: Seed = 0,
    reward: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE:FUNCTION", help="a function of your own to report as well; repeatable"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="where every sample is kept; default: evals/MODEL-TIME")
    ] = None,
    json_output: Json = False,
) -> None:
    """Evaluate a model on benchmarks.

    Reports pass@1 (mean over samples) with its 95 % confidence interval, cons@k, pass@k, format rate and length.
    Writes results.json and samples.jsonl, which has every completion with its grade.
    """
    from r1kit.evals import measure

    settings: dict[str, Any] = {"template": template, "temperature": temperature, "top_p": top_p, "samples": samples}
    settings |= {"system_prompt": system_prompt, "prompt_suffix": prompt_suffix, "stop": stop or []}
    settings["rewards"] = reward or []
    benchmarks = measure.benchmarks_from(prompts or measure.world_sources(), split, limit)
    out = out or Path("evals") / f"{Path(model).name}-{datetime.now():%Y%m%d-%H%M%S}"
    length = max_completion_length
    result = measure.evaluate(model, benchmarks, seed=seed, max_completion_length=length, out=out, **settings)
    say(f"results and samples: {out}")
    if json_output:
        print_json(result)
    else:
        from rich.console import Console

        from r1kit.report.terminal import comparison_table

        Console().print(comparison_table({Path(model).name: result}, families=True))
