"""Find rows of training data that overlap with benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from r1kit.commands import completion
from r1kit.commands.options import Json, print_json
from r1kit.console import printable

SHOWN_CHARACTERS = 200  # of a match


def command(
    files: Annotated[list[Path], typer.Argument(metavar="DATA", help="training data: JSON Lines, JSON, CSV, Parquet")],
    bench: Annotated[
        list[str],
        typer.Option(
            metavar="NAMES",
            help="benchmarks by name: aime24,math500, or paper; repeatable",
            autocompletion=completion.benchmarks,
        ),
    ],
    data: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="a file with the data of a benchmark; repeatable")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="the name of a column in these files; repeatable")
    ] = None,
    ngram: Annotated[int, typer.Option(min=1, help="words in a row that are an overlap, as in the paper")] = 10,
    show: Annotated[int, typer.Option(min=0, help="matches to print; --json has all")] = 20,
    json_output: Json = False,
) -> None:
    """Find rows of training data that overlap with benchmarks: 10 words in a row of a question or its answer.

    Compares every text of a row, without case and punctuation; Chinese characters count as words. A question of fewer
    words matches if it is the complete text. Paraphrases are not found.
    """
    from r1kit.console import heartbeat
    from r1kit.data.store import read_rows
    from r1kit.evals.contamination import Contamination, check_rows
    from r1kit.evals.measure import named_benchmarks
    from r1kit.evals.named.sources import problems_of

    named = named_benchmarks(",".join(bench), data or [], field or [])
    with heartbeat("indexing the benchmarks"):
        contamination = Contamination({name: problems_of(sources) for name, sources in named.items()}, ngram, True)
    found = {}
    for file in files:
        with heartbeat(f"comparing {file}"):
            found[str(file)] = check_rows(read_rows(file), contamination)
    if json_output:
        print_json({"ngram": ngram, "files": found})
        return
    for name, each in found.items():
        _print(name, each, show)


def _print(file: str, found: Mapping[str, Any], show: int) -> None:
    by_benchmark = ", ".join(f"{number:,} with {name}" for name, number in found["benchmarks"].items())
    counts = f"{found['contaminated']:,} of {found['rows']:,} rows overlap"
    print(printable(f"{file}: {counts}{f': {by_benchmark}' if by_benchmark else ''}"))
    for match in found["matches"][:show]:
        print(printable(f"  row {match['row']:,}, {match['benchmark']}: {_shortened(match['match'])}"))
    if (more := len(found["matches"]) - show) > 0:
        print(f"  ... and {more:,} more")


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."
