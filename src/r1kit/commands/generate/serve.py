"""Serve models over OpenAI's API."""

from __future__ import annotations

from typing import Annotated

import typer

from r1kit.commands import options
from r1kit.commands.options import AllowHost, AllowOrigin, ApiKeyFile, ChatTemplate, Host, Json, Port, print_json
from r1kit.serve.limits import Limits

DEFAULT = Limits()


def command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="bundled models, directories, stages of runs or hub ids; NAME=MODEL renames one"
        ),
    ],
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key_file: ApiKeyFile = None,
    template: Annotated[
        str | None, typer.Option(metavar="NAME", help="prompt template: chat, r1-zero or none; default: the model's")
    ] = None,
    chat_template: ChatTemplate = None,
    engine: Annotated[str, typer.Option(metavar="ENGINE", help="native, vllm, or URLs of vLLM servers")] = "native",
    max_concurrent: Annotated[int, typer.Option(help="completions decoded together")] = DEFAULT.max_concurrent,
    max_queue: Annotated[int, typer.Option(help="further completions that may wait")] = DEFAULT.max_queue,
    max_tokens: Annotated[int, typer.Option(help="tokens of a completion, at most")] = DEFAULT.max_tokens,
    request_timeout: Annotated[float, typer.Option(help="seconds for a request, waiting included")] = DEFAULT.seconds,
    grace: Annotated[float, typer.Option(help="seconds for running requests when the server is stopped")] = 30.0,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    json_output: Json = False,
) -> None:
    """Serve models over OpenAI's API, with a chat page. Only this machine can connect, unless there are API keys."""
    from r1kit import machine
    from r1kit.console import say
    from r1kit.errors import require

    machine.share_heaps()
    hosting = options.hosting(host, port, api_key_file, allow_host, allow_origin)
    limits = Limits(max_tokens, max_concurrent, max_queue, request_timeout)
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        require(module, "serve")
    from r1kit.serve.load import engine_choice, load_models, parse_names, parse_template, read_chat_template
    from r1kit.serve.run import run

    names = parse_names(models)
    text = read_chat_template(chat_template)
    served = load_models(names, parse_template(template), engine_choice(engine), limits, text)

    def ready(url: str) -> None:
        if json_output:
            print_json({"url": url, "models": list(names)})
        say(f"chat page: {url}/   OpenAI API: {url}/v1   models: {', '.join(names)}   stop with ^C")

    run(served, hosting, limits, grace, ready)
