"""Results of claims as files, RESULTS/NAME.json, so that a claim that ran elsewhere or earlier needs no second run.

A record names what determined it: the identities of all stages by seed, and what was measured in them. Wording and
bands are those of today's claim file.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from r1kit import files
from r1kit.claim.measure import Finding, Made, Verdict, judge, state_of
from r1kit.claim.runs import Runs, claim_run
from r1kit.claim.spec import Claim
from r1kit.errors import UserError, requirement
from r1kit.hashing import canonical_json


@dataclass(frozen=True, slots=True)
class _Record:
    """The part of a record that is read back."""

    findings: tuple[Finding, ...]
    made: Made


RECORD = TypeAdapter(_Record)


def verdict_of(claim: Claim, runs: Runs, folder: Path) -> Verdict:
    """Return what finished runs say, or the claim's record in `folder` if they are none or lack seeds of it.

    Args:
        claim: The claim.
        runs: The seeds that are asked for.
        folder: Directory of records.
    """
    here, recorded = judge(claim, runs), _read(claim, runs, folder)
    if here.seeds:
        here = replace(here, made=_made(claim, {seed: runs[seed] for seed in here.seeds}))
        if recorded is None or not recorded.current or not set(here.seeds) < set(recorded.seeds):
            return here
    return recorded or here


def is_recorded(claim: Claim, runs: Runs, folder: Path) -> bool:
    """Return whether the claim's record holds for today's recipes and has all seeds that are asked for."""
    recorded = _read(claim, runs, folder)
    return recorded is not None and recorded.current and set(runs) <= set(recorded.seeds)


def write(verdict: Verdict, folder: Path) -> None:
    """Record a claim that has run. A result of an earlier recipe stays as it was written."""
    if verdict.made is not None and verdict.current:
        files.write_json(_path(verdict.claim, folder), as_json(verdict))


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Return a claim with its findings as plain values."""
    claim = verdict.claim
    about = {"name": verdict.name, "claim": claim.claim, "paper": claim.paper, "theirs": claim.theirs}
    findings = [asdict(finding) for finding in verdict.findings]
    result = {"state": verdict.state, "current": verdict.current, "seeds": list(verdict.seeds), "findings": findings}
    return {**about, **result, "made": verdict.made and asdict(verdict.made)}


def _path(claim: Claim, folder: Path) -> Path:
    return folder / f"{claim.name}.json"


def _read(claim: Claim, runs: Runs, folder: Path) -> Verdict | None:
    """Return a record as a verdict, or None if there is none. UserError if the file is no record."""
    path = _path(claim, folder)
    if not path.is_file():
        return None
    try:
        record = RECORD.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        fault = ": ".join(filter(None, (".".join(map(str, first["loc"])), requirement(first["msg"]))))
        raise UserError(
            f"{path}: not a record of `r1kit claims` ({fault}); restore it, or remove it and run {claim.name} again"
        ) from None
    made, seeds = record.made, tuple(record.made.runs)
    if (
        len(record.findings) != len(claim.measure)
        or made.measures != hash_of_measures(claim)
        or any(hash_of_runs(claim, runs, seed, folder) != made.runs[seed] for seed in seeds)
    ):
        return Verdict(claim.name, claim, seeds, record.findings, made, current=False)
    findings = [
        replace(finding, what=each.what, band=each.band, state=state_of(finding.ci95, *each.band))
        for each, finding in zip(claim.measure, record.findings, strict=True)
    ]
    return Verdict(claim.name, claim, seeds, tuple(findings), made)


def _made(claim: Claim, runs: Runs) -> Made:
    """Describe finished runs by what determined them, their time and their machines."""
    own = [run for each in runs.values() for run in each.values()]
    artifacts = {
        (stage.name, stage.identity): files.read_json(run.dir.stage(stage.name).artifact)
        for run in own
        for stage in run.stages
    }
    lineages = [files.read_json(run.dir.lineage) for run in own]
    machines = {f"{each['cpu']}, {each['threads']} thread{'s' * (each['threads'] > 1)}" for each in lineages}
    changes = [change["changed"] for each in lineages for change in each["changes"]]
    machines |= {changed["cpu"][0] for changed in changes if "cpu" in changed}  # such as of stages taken over
    return Made(
        runs={seed: hash_of_runs(claim, runs, seed, Path()) for seed in runs},
        measures=hash_of_measures(claim),
        seconds=round(sum(each["seconds"] for each in artifacts.values())),
        machine=" and ".join(sorted(machines)),
        date=max(each["finished"] for each in artifacts.values())[: len("2026-01-31")],
        source=sorted({each["source"] for each in lineages}),
    )


def hash_of_runs(claim: Claim, runs: Runs, seed: int, root: Path) -> str:
    """Return the hash of the identities of a seed's stages. They contain settings, base models, data and version."""
    own = runs.get(seed) or {name: claim_run(claim, name, seed, root) for name in claim.runs}
    return _hash({name: [stage.identity for stage in run.stages] for name, run in own.items()})


def hash_of_measures(claim: Claim) -> str:
    """Return the hash of what is measured, without its wording and its bands: these are judged anew."""
    return _hash([each.model_dump(mode="json", exclude={"what", "above", "below"}) for each in claim.measure])


def _hash(value: Any) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()[:16]
