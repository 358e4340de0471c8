"""Evaluate a model on benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from r1kit.commands import completion
from r1kit.commands.options import (
    Json,
    PromptSuffix,
    Seed,
    Stop,
    SystemPrompt,
    Temperature,
    TopP,
    print_json,
)
from r1kit.console import say
from r1kit.errors import UserError

if TYPE_CHECKING:
    from r1kit.rewards.judge.endpoint import Endpoint

DEFAULTS = {"template": "r1-zero", "samples": 4, "max_completion_length": 512}


Prompts = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE", help="world:NAME, verifiers:NAME, a file or a hub dataset; repeatable; default: every world"
    ),
]
Bench = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="benchmarks by name: aime24,math500, or paper; see r1kit benchmarks",
        autocompletion=completion.benchmarks,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=FILE", help="a file with the data of a benchmark of --bench; repeatable"),
]
Field = Annotated[
    list[str] | None,
    typer.Option(metavar="OURS=THEIRS", help="the name of a column in the files of --data; repeatable"),
]
Split = Annotated[str | None, typer.Option(help="split of the sources; default: held_out for worlds, else test")]
Limit = Annotated[int | None, typer.Option(min=1, help="the first N problems of each source or benchmark")]
Samples = Annotated[
    int | None, typer.Option(min=1, max=100_000, help="completions per problem; default: 4, with --bench its k")
]
BenchTemplate = Annotated[
    str | None, typer.Option(metavar="NAME", help="r1-zero, chat or none; default: r1-zero, with --bench its own")
]
Cap = Annotated[
    int | None, typer.Option(help="longest completion in tokens; default: 512, with --bench its own, mostly 32,768")
]
Environment = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="what answers the model within a completion: calculator, guess, tools, verifiers:NAME, ..."
    ),
]
Reward = Annotated[
    list[str] | None,
    typer.Option(metavar="MODULE:FUNCTION", help="a function of your own to report as well; repeatable"),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="URL", help="OpenAI-compatible endpoint where MODEL answers: https://HOST/v1"),
]
EndpointModel = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="the model at --endpoint, instead of MODEL")
]
KeyVariable = Annotated[
    str, typer.Option(metavar="NAME", help="environment variable with the API key of --endpoint and --judge-url")
]
Concurrent = Annotated[int, typer.Option(min=1, max=1024, help="requests in flight to each endpoint")]
Price = Annotated[
    str | None,
    typer.Option(metavar="IN,OUT", help="price of a million tokens of prompts and completions, for the cost"),
]
JudgeUrl = Annotated[str | None, typer.Option(help="OpenAI-compatible endpoint of the model that grades open answers")]
JudgeModel = Annotated[str, typer.Option(help="the model at that endpoint")]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="where every sample is kept; the same command continues an interrupted one; default: evals/MODEL-TIME",
    ),
]


def command(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="a bundled model, a directory, a stage of a run or a hub id")
    ] = None,
    prompts: Prompts = None,
    bench: Bench = None,
    data: Data = None,
    field: Field = None,
    split: Split = None,
    limit: Limit = None,
    samples: Samples = None,
    template: BenchTemplate = None,
    system_prompt: SystemPrompt = "",
    prompt_suffix: PromptSuffix = "",
    stop: Stop = None,
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_completion_length: Cap = None,
    seed: Seed = 0,
    environment: Environment = None,
    reward: Reward = None,
    endpoint: EndpointUrl = None,
    name: EndpointModel = None,
    api_key_env: KeyVariable = "OPENAI_API_KEY",
    max_concurrent: Concurrent = 32,
    price: Price = None,
    judge_url: JudgeUrl = None,
    judge_model: JudgeModel = "default",
    out: Out = None,
    json_output: Json = False,
) -> None:
    """Evaluate a model on benchmarks.

    Reports pass@1 (mean over samples) with its 95 % confidence interval, cons@k, pass@k, format rate and length, how
    they were measured, and with --bench the paper's numbers. Writes results.json and samples.jsonl.
    """
    from r1kit.evals import measure

    model = _model_of(model, name, endpoint)
    if endpoint is not None and template is None:
        template = "chat"  # the endpoint has the model's own
    settings: dict[str, Any] = dict(template=template, samples=samples, max_completion_length=max_completion_length)
    if bench is None:
        benchmarks = measure.benchmarks_from(prompts or measure.world_sources(), split, limit)
        settings = {key: DEFAULTS[key] if given is None else given for key, given in settings.items()}
    else:
        _refuse({"--prompts": prompts, "--split": split})
        benchmarks = measure.named_benchmarks(bench, data or [], field or [], limit)
        settings = {key: given for key, given in settings.items() if given is not None}
    judge = _endpoint(judge_url, judge_model, api_key_env, max_concurrent)
    settings |= {"temperature": temperature, "top_p": top_p, "rewards": reward or [], "judge": judge}
    settings |= {"system_prompt": system_prompt, "prompt_suffix": prompt_suffix, "stop": stop or []}
    settings |= {"environment": environment, "endpoint": _endpoint(endpoint, model, api_key_env, max_concurrent, price)}
    out = out or Path("evals") / f"{Path(model).name}-{datetime.now():%Y%m%d-%H%M%S}"
    result = measure.evaluate(model, benchmarks, seed=seed, out=out, **settings)
    say(f"results and samples: {out}")
    if json_output:
        print_json(result)
    else:
        _print(Path(model).name, result)


def _model_of(model: str | None, name: str | None, endpoint: str | None) -> str:
    """Return the model's name. UserError unless it is given once, and --model only with --endpoint."""
    if name is not None and endpoint is None:
        raise UserError(f"--model {name} without --endpoint: give --endpoint URL, or the model as MODEL")
    if (model is None) == (name is None):
        given = "MODEL and --model: give one of them" if model else "no model: give MODEL, or --endpoint and --model"
        raise UserError(given)
    return model or str(name)


def _endpoint(
    url: str | None, model: str, api_key_env: str, max_concurrent: int, price: str | None = None
) -> Endpoint | None:
    """Return an endpoint. UserError if the price is not two numbers."""
    if url is None:
        return None
    from r1kit.rewards.judge.endpoint import SAMPLING_TIMEOUT, Endpoint

    try:
        prompt_price, completion_price = map(float, (price or "0,0").split(","))
    except ValueError:
        raise UserError(f"--price {price}: must be two numbers such as 0.55,2.19, per million tokens") from None
    return Endpoint(
        url,
        model,
        api_key_env,
        SAMPLING_TIMEOUT,
        prompt_price=prompt_price,
        completion_price=completion_price,
        max_concurrent=max_concurrent,
    )


def _print(model: str, result: Mapping[str, Any]) -> None:
    from rich.console import Console

    from r1kit.report.benchmarks import protocol_and_paper
    from r1kit.report.terminal import comparison_table

    console = Console()
    console.print(comparison_table({model: result}, families=True))
    console.print(protocol_and_paper(result["benchmarks"]))


def _refuse(options: Mapping[str, object]) -> None:
    """Raise UserError for options that do not go with --bench."""
    if given := [name for name, value in options.items() if value]:
        raise UserError(f"{given[0]} with --bench: give one of them; a benchmark has its own data, see --data")
