"""List and run the paper's claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r1kit.bundled import bundled_claims
from r1kit.commands import completion
from r1kit.commands.options import Json, print_json
from r1kit.console import duration, say, warn
from r1kit.errors import UserError

if TYPE_CHECKING:
    from r1kit.claim.runs import Runs, Shared
    from r1kit.claim.spec import Claim


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="claims to run, or .toml files", autocompletion=completion.claims),
    ] = None,
    run_all: Annotated[
        bool, typer.Option("--all", help="run every claim, those with the least left to run first")
    ] = False,
    seeds: Annotated[str, typer.Option(metavar="LIST", help="seeds, with commas between them")] = "0,1,2",
    runs_dir: Annotated[Path, typer.Option("--runs", help="directory of the runs")] = Path("runs/claims"),
    results: Annotated[
        Path, typer.Option(help="directory of the recorded results, NAME.json for each claim that has run")
    ] = Path("docs/results/claims"),
    again: Annotated[bool, typer.Option("--again", help="also run claims whose result is recorded")] = False,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="another run whose finished stages are taken over; repeatable"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what is to run, and about how long")] = False,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write the results as Markdown here, also of the other bundled claims"),
    ] = None,
    json_output: Json = False,
) -> None:
    """Run claims of the paper and judge them, or list them with their results.

    A claim is a file: recipes, and comparisons of two numbers with the band in which they confirm it. The same command
    again continues where it stopped. Stages that claims have in common run once. A claim that has run is recorded, and
    runs again only if what determined its result has changed, or with --again.
    """
    from r1kit.claim.plan import cheapest_first, make_plan, render
    from r1kit.claim.records import is_recorded
    from r1kit.claim.runs import find_shared
    from r1kit.claim.spec import load_claim

    if names and run_all:
        raise UserError(f"--all runs every claim: leave out {' '.join(names)}, or --all")
    loaded = [load_claim(name) for name in (names or bundled_claims())]
    _check(loaded, page)
    chosen = _seeds(seeds)
    claims = [(claim, _runs(claim, chosen, runs_dir)) for claim in loaded]
    shared = find_shared(runs_dir, reuse or ())
    recorded = [] if again else [claim.name for claim, runs in claims if is_recorded(claim, runs, results)]
    to_do = [(claim, runs) for claim, runs in claims if claim.name not in recorded]
    to_do = to_do if names else cheapest_first(to_do, shared)
    if recorded and (dry_run or names or run_all):
        say(f"recorded in {results}, and run again only with --again: {', '.join(recorded)}")
    if dry_run:
        planned = make_plan(to_do, shared)
        keys = ("claim", "seed", "name", "to_do", "seconds")
        data = {"runs": [{key: getattr(each, key) for key in keys} for each in planned if each.to_do]}
        return print_json(data) if json_output else print(render(planned))
    failed = _run(to_do, shared, results) if names or run_all else []
    if page is not None:
        others = [(claim, _runs(claim, chosen, runs_dir)) for claim in _other_claims(loaded)]
        _write_page(page, sorted([*claims, *others], key=lambda each: each[0].name), results)
    _show(claims, results, json_output)
    if failed:
        raise UserError("\n".join([*failed, "the same command tries these runs again"]))


def _check(claims: Sequence[Claim], page: Path | None) -> None:
    """Refuse claims whose records would replace each other's or a bundled claim's, and a page that is no file."""
    if page is not None and page.is_dir():
        raise UserError(f"--page {page}: a directory; name a file in it")
    files = {name: path.resolve() for name, path in bundled_claims().items()}
    for claim in claims:
        other = files.setdefault(claim.name, claim.path.resolve())
        if other != claim.path.resolve():
            raise UserError(f"{claim.path}: its record would replace that of {other}: rename the file")


def _seeds(given: str) -> list[int]:
    """Return the seeds of a list such as "0,1,2"."""
    texts = given.replace(" ", "").split(",")
    if not all(text.isdecimal() for text in texts):
        raise UserError(f"--seeds {given}: must be whole numbers with commas between them, such as 0,1,2")
    return list(dict.fromkeys(map(int, texts)))


def _other_claims(loaded: Sequence[Claim]) -> list[Claim]:
    """Return the bundled claims that are not among these, or none if these are a user's own."""
    from r1kit.claim.spec import load_claim

    bundled, given = bundled_claims(), {claim.path for claim in loaded}
    if given.isdisjoint(bundled.values()):
        return []
    return [load_claim(name) for name, path in bundled.items() if path not in given]


def _runs(claim: Claim, seeds: Sequence[int], runs_dir: Path) -> Runs:
    """Return the runs of a claim by seed and name."""
    from r1kit.claim.runs import claim_run

    return {seed: {name: claim_run(claim, name, seed, runs_dir) for name in claim.runs} for seed in seeds}


def _run(claims: Sequence[tuple[Claim, Runs]], shared: Shared, results: Path) -> list[str]:
    """Run what is missing, claim by claim; record and print each. Return why runs failed; others go on."""
    from r1kit.claim import records
    from r1kit.claim.page import lines
    from r1kit.claim.plan import make_plan
    from r1kit.claim.runs import execute

    failed = []
    for index, (claim, runs) in enumerate(claims, start=1):
        for planned in make_plan([(claim, runs)], shared):
            left = duration(sum(each.seconds for each in make_plan(claims[index - 1 :], shared)))
            what = f"claim {index}/{len(claims)} {claim.name}, seed {planned.seed}, {planned.name}"
            stages = f"{len(planned.to_do)} of {len(planned.run.stages)} stages to run"
            say(f"{what}: {stages}; about {left} left for all claims")
            try:
                execute(planned.run, shared)
            except UserError as error:  # such as a watchdog that stopped a training
                warn(f"{what}: {error}")
                failed.append(f"{what}: {error}")
        verdict = records.verdict_of(claim, runs, results)
        records.write(verdict, results)
        if len(claims) > 1:  # one alone is printed at the end
            say("\n".join(lines(verdict)))
    return failed


def _write_page(page: Path, claims: Sequence[tuple[Claim, Runs]], results: Path) -> None:
    """Write the page, and record what it shows of runs that are here: tomorrow's page may be written without them."""
    from r1kit import files
    from r1kit.claim import page as pages
    from r1kit.claim import records

    verdicts = [records.verdict_of(claim, runs, results) for claim, runs in claims]
    for verdict in verdicts:
        records.write(verdict, results)
    files.write_bytes(page, pages.page(verdicts).encode())


def _show(claims: Sequence[tuple[Claim, Runs]], results: Path, json_output: bool) -> None:
    """Print the state of the claims."""
    from r1kit.claim import records
    from r1kit.claim.page import lines

    verdicts = [records.verdict_of(claim, runs, results) for claim, runs in claims]
    if json_output:
        return print_json({"claims": [records.as_json(verdict) for verdict in verdicts]})
    print("\n".join(line for verdict in verdicts for line in lines(verdict)))
