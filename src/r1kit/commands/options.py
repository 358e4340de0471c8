"""Arguments and options that several commands share, and what they do with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from r1kit.commands import completion

if TYPE_CHECKING:
    from r1kit.config import Recipe
    from r1kit.web.hosting import Hosting

RecipeName = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="a bundled recipe or a .toml file", autocompletion=completion.recipes),
]
RecipeSeed = Annotated[int | None, typer.Option("--seed", help="the recipe's seed")]
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="a bundled model, a directory, a stage of a run or a hub id")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. stage.zero.steps=10; repeatable"),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object as the last line of stdout")]
TemplateName = Annotated[str, typer.Option(metavar="NAME", help="prompt template: r1-zero, chat or none")]
ChatTemplate = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE", help="chat template in place of the model's: hermes (ChatML with tools), or a file"
    ),
]
Temperature = Annotated[float, typer.Option(help="sampling temperature; 0 is greedy decoding")]
TopP = Annotated[float, typer.Option(help="nucleus sampling; 1 keeps all tokens")]
SystemPrompt = Annotated[str, typer.Option(metavar="TEXT", help="system message; for --template chat only")]
PromptSuffix = Annotated[str, typer.Option(metavar="TEXT", help="text that is appended to each question")]
Stop = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="text that ends a completion and is kept; repeatable")
]
Seed = Annotated[int, typer.Option(help="sampling seed")]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="address to listen at; others than 127.0.0.1 need API keys")]
Port = Annotated[int, typer.Option(help="port to listen at; 0 takes a free one")]
ApiKeyFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="API keys, one per line, besides those in R1KIT_API_KEYS")
]
AllowHost = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="a name by which a proxy reaches this server; repeatable")
]
AllowOrigin = Annotated[
    list[str] | None, typer.Option(metavar="URL", help="another page that may call this server; repeatable")
]
Length = Annotated[int, typer.Option(help="maximum length of a completion in tokens")]


def load(recipe: str, overrides: list[str] | None, seed: int | None) -> Recipe:
    """Read a recipe with the overrides of the command line; `seed` is one of them."""
    from r1kit.recipe import load_recipe

    return load_recipe(recipe, [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])])


def hosting(
    host: str, port: int, api_key_file: Path | None, allow_host: list[str] | None, allow_origin: list[str] | None
) -> Hosting:
    """Return where a command listens and whom it answers. UserError if that would be open to everybody."""
    from r1kit.web.hosting import Hosting
    from r1kit.web.keys import load_keys

    return Hosting(host, port, load_keys(api_key_file), tuple(allow_host or ()), tuple(allow_origin or ()))


def print_json(value: Any) -> None:
    """Print JSON as the last line of stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)
