"""Show what this machine offers."""

from __future__ import annotations

from typing import Annotated

import typer

from r1kit import machine
from r1kit.commands.options import Json, print_json
from r1kit.console import heartbeat


def command(
    prepare: Annotated[
        bool, typer.Option("--prepare", help="first build the sandbox, which otherwise happens at its first use")
    ] = False,
    json_output: Json = False,
) -> None:
    """Show what this machine offers and the device, dtype and sandbox that r1kit chooses on it."""
    from r1kit.model.fused.support import why_not
    from r1kit.model.reference import bundled_models
    from r1kit.rewards.sandbox import survey

    with heartbeat("examining this machine"):
        result = machine.examine(survey(build=prepare), bundled_models(), why_not())
    if json_output:
        print_json(result)
    else:
        print(machine.render(result))
