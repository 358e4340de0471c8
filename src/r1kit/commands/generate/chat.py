"""Chat with a model in the terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from r1kit.commands.options import ChatTemplate, ModelName, Temperature, TopP

Endpoint = Annotated[
    str | None,
    typer.Option(metavar="URL", help="OpenAI-compatible endpoint where MODEL answers: http://127.0.0.1:8000/v1"),
]
KeyVariable = Annotated[str, typer.Option(metavar="NAME", help="environment variable with the API key of --endpoint")]
Reasoning = Annotated[
    bool | None, typer.Option("--reasoning/--no-reasoning", help="print the reasoning; by default in a terminal only")
]


def command(
    model: ModelName,
    endpoint: Endpoint = None,
    api_key_env: KeyVariable = "OPENAI_API_KEY",
    template: Annotated[
        str | None, typer.Option(metavar="NAME", help="prompt template: chat, r1-zero or none; default: the model's")
    ] = None,
    chat_template: ChatTemplate = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="a tool that the model may call: calculator, python; repeatable"),
    ] = None,
    system: Annotated[str, typer.Option(metavar="TEXT", help="system prompt")] = "",
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_tokens: Annotated[int | None, typer.Option(help="tokens of an answer, at most")] = None,
    seed: Annotated[int | None, typer.Option(help="sampling seed of every answer; random by default")] = None,
    reasoning: Reasoning = None,
) -> None:
    """Chat with a model in the terminal, or answer the questions of a pipe, one per line. /help lists commands."""
    from r1kit.serve.terminal.conversation import Backend, Conversation, Settings
    from r1kit.serve.terminal.loop import Loop
    from r1kit.tools.builtin import tools_named

    values = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "system": system, "seed": seed}
    settings = Settings.checked(values)
    backend: Backend
    if endpoint is not None:
        if template is not None or chat_template is not None:
            raise typer.BadParameter("the endpoint chooses the template: give the option to its server")
        from r1kit.serve.terminal.remote import RemoteModel

        backend = RemoteModel(endpoint, model, api_key_env)
    else:
        from r1kit.serve.terminal.local import LocalModel

        backend = LocalModel(model, template, chat_template)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    conversation = Conversation(backend, settings, tools=tools_named(tool or []))
    Loop(conversation, interactive if reasoning is None else reasoning, interactive).run()
