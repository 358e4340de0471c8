"""The reference of all commands, as Markdown.

Update the page with `python -m r1kit.cli_reference > docs/cli-reference.md`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import typer

from r1kit.cli import app

INTRODUCTION = """\
# Command reference

For everyone who uses the command line. This page lists every command with its arguments and options;
`r1kit COMMAND --help` prints the same. Results go to stdout, everything else to stderr.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an unexpected error, or nothing could be graded |
| 2 | a mistake that the message explains |
| 130 | interrupted by ^C or SIGTERM; the same command continues |

This page is generated from `src/r1kit/commands/` by `python -m r1kit.cli_reference`.
"""
BAR = "\\|"  # in a cell of a table
VALUES = {"int": "N", "float": "X", "str": "TEXT", "Path": "PATH"}  # of options that name no value


def render() -> str:
    """Return the reference as Markdown: one section for each group of commands."""
    root: Any = typer.main.get_command(app)
    shared = set.intersection(*({parameter.name for parameter in each.params} for each in root.commands.values()))
    everywhere = [parameter for parameter in root.commands["run"].params if parameter.name in shared]
    lines = [INTRODUCTION, "## Options of `r1kit` itself", "", *_table("option", root.params), ""]
    lines += ["## Options of every command", "", *_table("option", everywhere), ""]
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name, command in root.commands.items():
        groups.setdefault(command.callback.__module__.rpartition(".")[0], []).append((name, command))
    for module, commands in groups.items():
        lines += [f"## {str(inspect.getdoc(import_module(module))).rstrip('.')}", ""]
        for name, command in commands:
            own = [parameter for parameter in command.params if parameter.name not in shared]
            lines += _section(name, command.help, own)
    return "\n".join(lines)


def _section(name: str, text: str, parameters: Iterable[Any]) -> list[str]:
    kinds: dict[str, list[Any]] = {"argument": [], "option": []}
    for parameter in parameters:
        kinds[parameter.param_type_name].append(parameter)
    usage = " ".join(["r1kit", name, *map(_usage, kinds["argument"])])
    lines = [f"### r1kit {name}", "", text, "", "```", f"{usage} [OPTIONS]", "```", ""]
    for title, members in kinds.items():
        lines += [*_table(title, members), ""] if members else []
    return lines


def _usage(argument: Any) -> str:
    name = _name(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _table(title: str, parameters: Iterable[Any]) -> list[str]:
    return [f"| {title} | default | meaning |", "|---|---|---|", *map(_row, parameters)]


def _row(parameter: Any) -> str:
    default = "required" if parameter.required else _default(parameter.default)
    meaning = ", ".join([parameter.help or "", *_range(parameter)])
    return f"| `{_name(parameter)}` | {default} | {meaning.replace('|', BAR)} |"


def _name(parameter: Any) -> str:
    """Return the name of an argument, or the flags of an option with the name of its value."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).strip("[].").upper()
    flags = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return flags if parameter.is_flag else f"{flags} {parameter.metavar or VALUES[parameter.bare_type()]}"


def _default(value: object) -> str:
    return "" if value in (None, False, "") else f"`{value}`"


def _range(parameter: Any) -> Iterator[str]:
    if parameter.min is not None and parameter.max is not None:
        yield f"{parameter.min:,} to {parameter.max:,}"
    elif parameter.min is not None:
        yield f"at least {parameter.min}"


if __name__ == "__main__":
    print(render(), end="")
