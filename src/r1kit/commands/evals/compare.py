"""Compare two evaluations."""

from __future__ import annotations

from typing import Annotated

import typer

from r1kit.commands.options import Json, print_json

HELP = "a run, an evaluate stage RUN/STAGE, or a directory or samples.jsonl of r1kit eval"


def command(
    a: Annotated[str, typer.Argument(metavar="A", help=HELP)],
    b: Annotated[str, typer.Argument(metavar="B", help=HELP)],
    anyway: Annotated[bool, typer.Option("--anyway", help="compare also what was graded in different ways")] = False,
    json_output: Json = False,
) -> None:
    """Compare two evaluations problem by problem: A minus B, with its 95 % confidence interval and an exact test.

    Names what differs in how they were measured. Refuses where the benchmark, the grader or the judge differs.
    """
    from r1kit.evals.compare import compare_results, read_results

    compared = compare_results(read_results(a), read_results(b), anyway)
    if json_output:
        print_json(compared)
        return
    from rich.console import Console

    from r1kit.report.benchmarks import paired_table

    Console().print(paired_table(compared))
