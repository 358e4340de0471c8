"""List the benchmarks that have a name."""

from __future__ import annotations

from typing import Annotated

import typer

from r1kit.commands import completion
from r1kit.commands.options import Json, print_json


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="show these in full", autocompletion=completion.benchmarks),
    ] = None,
    json_output: Json = False,
) -> None:
    """List the benchmarks that --bench and `bench:NAME` take: size, k, metric, grader, licence and source."""
    from r1kit.evals.named.catalogue import catalogue

    rows = catalogue(names or None)
    if json_output:
        print_json({"benchmarks": rows})
        return
    from rich.console import Console

    from r1kit.report.benchmarks import benchmark_details, benchmark_table

    Console().print(benchmark_details(rows) if names else benchmark_table(rows))
