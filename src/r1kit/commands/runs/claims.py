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
    from r1kit.claim.measure import Verdict
    from r1kit.claim.plan import Runs
    from r1kit.claim.runs import Shared
    from r1kit.claim.spec import Claim


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="claims to run, or .toml files", autocompletion=completion.claims),
    ] = None,
    run_all: Annotated[bool, typer.Option("--all", help="run every claim")] = False,
    seeds: Annotated[str, typer.Option(metavar="LIST", help="seeds, with commas between them")] = "0,1,2",
    runs_dir: Annotated[Path, typer.Option("--runs", help="directory of the runs")] = Path("runs/claims"),
    reuse: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="another run whose finished stages are taken over; repeatable"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what is to run, and about how long")] = False,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="write the results as Markdown here")] = None,
    json_output: Json = False,
) -> None:
    """Run claims of the paper and judge them, or list them with what finished runs say.

    A claim is a file: recipes, and comparisons of two numbers with the band in which they confirm it. The same command
    again continues where it stopped. Stages that claims have in common run once.
    """
    from r1kit.claim.plan import make_plan, render
    from r1kit.claim.runs import claim_run, find_shared
    from r1kit.claim.spec import load_claim

    if names and run_all:
        raise UserError(f"--all runs every claim: leave out {' '.join(names)}, or --all")
    loaded = [load_claim(name) for name in (names or bundled_claims())]
    chosen = _seeds(seeds)
    claims: list[tuple[Claim, Runs]] = [
        (claim, {seed: {name: claim_run(claim, name, seed, runs_dir) for name in claim.runs} for seed in chosen})
        for claim in loaded
    ]
    shared = find_shared(runs_dir, reuse or ())
    if dry_run:
        planned = make_plan(claims, shared)
        keys = ("claim", "seed", "name", "to_do", "seconds")
        data = {"runs": [{key: getattr(each, key) for key in keys} for each in planned if each.to_do]}
        return print_json(data) if json_output else print(render(planned))
    failed = _run(claims, shared) if names or run_all else []
    _show(claims, page, json_output)
    if failed:
        raise UserError("\n".join([*failed, "the same command tries these runs again"]))


def _seeds(given: str) -> list[int]:
    """Return the seeds of a list such as "0,1,2"."""
    texts = given.replace(" ", "").split(",")
    if not all(text.isdecimal() for text in texts):
        raise UserError(f"--seeds {given}: must be whole numbers with commas between them, such as 0,1,2")
    return list(dict.fromkeys(map(int, texts)))


def _run(claims: Sequence[tuple[Claim, Runs]], shared: Shared) -> list[str]:
    """Run what is missing, claim by claim, and print what each came to. Return why runs failed; others go on."""
    from r1kit.claim.measure import judge
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
        if len(claims) > 1:  # one alone is printed at the end
            say("\n".join(lines(judge(claim, runs))))
    return failed


def _show(claims: Sequence[tuple[Claim, Runs]], page: Path | None, json_output: bool) -> None:
    """Print the state of the claims, and write it to a page."""
    from datetime import UTC, datetime

    from r1kit import files, machine
    from r1kit.claim import page as pages
    from r1kit.claim.measure import judge

    verdicts: list[Verdict] = [judge(claim, runs) for claim, runs in claims]
    if page is not None:
        about = f"{machine.cpu_name()}, {machine.threads()} threads, {datetime.now(UTC).date().isoformat()}"
        files.write_bytes(page, pages.page(verdicts, about).encode())
    if json_output:
        return print_json({"claims": [pages.record(verdict) for verdict in verdicts]})
    print("\n".join(line for verdict in verdicts for line in pages.lines(verdict)))
