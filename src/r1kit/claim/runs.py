"""The runs of claims: one directory for each recipe and seed, with finished stages shared between all of them.

A stage's identity does not depend on the recipe that it stands in, so claims that change one stage of `sprout-r1` run
that stage and what follows, and take the others from whichever run has them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from typing import Any

from r1kit import files, machine
from r1kit.claim.spec import WIN_RATE, Claim, Side
from r1kit.config import Evaluate, Recipe, StageConfig
from r1kit.errors import UserError
from r1kit.metrics.glossary import explain
from r1kit.recipe import recipe_from
from r1kit.run import pipeline
from r1kit.run.fork import fork
from r1kit.run.lock import locked
from r1kit.run.resolve import ResolvedStage, resolve_stages
from r1kit.run_dir import RunDir

Key = tuple[str, str]  # name and identity of a stage
ALL_STEPS = Side.model_fields["steps"].default


@dataclass(frozen=True, slots=True)
class ClaimRun:
    """One recipe of a claim with one seed."""

    recipe: Recipe  # only with the stages that the claim measures, and those they need
    stages: Sequence[ResolvedStage]
    dir: RunDir

    @property
    def keys(self) -> list[Key]:
        """The stages, as `Shared` knows them."""
        return [(stage.name, stage.identity) for stage in self.stages]


Runs = Mapping[int, Mapping[str, ClaimRun]]  # seed -> name of the run -> run


@dataclass(frozen=True, slots=True)
class Shared:
    """The finished stages below some directories."""

    places: dict[Key, RunDir] = field(default_factory=dict)
    artifacts: dict[Key, dict[str, Any]] = field(default_factory=dict)

    def add(self, run: RunDir) -> None:
        """Add the finished stages of a run."""
        for path in sorted(run.stages.glob("*/artifact.json")) if run.lineage.is_file() else ():
            artifact = files.read_json(path)
            key = (path.parent.name, str(artifact.get("identity")))
            self.places.setdefault(key, run)
            self.artifacts.setdefault(key, artifact)


def find_shared(root: Path, others: Iterable[Path]) -> Shared:
    """Return the finished stages of the runs in `root` and of other runs. UserError if one of these is no run."""
    shared = Shared()
    for path in others:
        if not RunDir(path).lineage.is_file():
            raise UserError(f"--reuse {path}: not the directory of a run; `r1kit runs` lists runs")
        shared.add(RunDir(path))
    for path in sorted(root.glob("*/lineage.json")):
        shared.add(RunDir(path.parent))
    return shared


def claim_run(claim: Claim, name: str, seed: int, root: Path) -> ClaimRun:
    """Return the recipe `name` of a claim with a seed, and where it runs.

    The directory's name contains a hash of the identities of its stages: a claim that was edited runs in another one.
    """
    try:
        complete = recipe_from({**claim.runs[name], "seed": seed}, claim.path)
    except UserError as error:
        raise UserError(f"{claim.path.name}: runs.{name}: {error}") from None
    wanted = [stage for run, stage in claim.places() if run == name]
    if missing := [stage for stage in wanted if stage not in complete.stage]:
        raise UserError(
            f"{claim.path.name}: {name}/{missing[0]}: that recipe has no such stage; it has {', '.join(complete.stage)}"
        )
    for side in (side for measure in claim.measure for side in measure.sides if side.at.partition("/")[0] == name):
        _check_metric(side, complete.stage[side.at.partition("/")[2]], claim.path.name)
    recipe = _needed(complete, wanted)
    dtype = machine.choose_compute(recipe.device, recipe.dtype).dtype
    stages = resolve_stages(recipe, dtype)
    digest = hashlib.sha256("".join(stage.identity for stage in stages).encode()).hexdigest()[:8]
    return ClaimRun(recipe, stages, RunDir(root / f"{claim.name}.{name}-seed-{seed}-{digest}"))


def _check_metric(side: Side, stage: StageConfig, file: str) -> None:
    """Refuse a metric that such a stage never has, before anything runs. UserError says what it has."""
    benchmark, _, metric = side.metric.partition("/")
    if not isinstance(stage, Evaluate):
        _check_steps(side, getattr(stage, "steps", None), file)
        names, known = [side.metric], side.metric == "seconds"
    elif side.steps != ALL_STEPS:
        raise UserError(f"{file}: {side.at}: steps belongs to a stage that trains, and this one evaluates")
    elif benchmark in stage.benchmarks:
        _check_samples(side, stage.samples, file)
        names, known = metric.split(" - "), metric == WIN_RATE
    else:
        raise UserError(f"{file}: {side.metric}: {side.at} has the benchmarks {', '.join(stage.benchmarks)}")
    if unknown := [name for name in names if not known and not explain(name, stage.kind)]:
        raise UserError(f"{file}: {side.metric}: {side.at} has no metric {unknown[0]!r}; docs/metrics.md lists them")


def _check_steps(side: Side, steps: int | None, file: str) -> None:
    """Refuse a part of the steps that holds none, and keys that belong to an evaluate stage."""
    if side.where or side.against:
        raise UserError(f"{file}: {side.at}: where and against belong to an evaluate stage, and this one is another")
    first, end = side.steps
    if steps is not None and floor(end * steps) < max(1, first * steps):
        raise UserError(f"{file}: {side.at}: steps = [{first:g}, {end:g}] holds no step of {steps}: widen it")


def _check_samples(side: Side, samples: int, file: str) -> None:
    """Refuse pass@k and cons@k with more samples than the stage takes."""
    for name, k in re.findall(r"(pass|cons)@(\d+)", side.metric):
        if int(k) > samples:
            raise UserError(f"{file}: {side.metric}: {side.at} has samples = {samples}, so no {name}@{k}")


def _needed(recipe: Recipe, wanted: Iterable[str]) -> Recipe:
    """Return the recipe with only these stages and what they read."""
    needed, open_ = set[str](), [*wanted]
    while open_:
        name = open_.pop()
        if name not in needed:
            needed.add(name)
            config = recipe.stage[name]
            read = [*config.models_read(recipe.stage), *config.data_read()]
            open_ += [each for each in read if each in recipe.stage]
    return recipe.model_copy(update={"stage": {n: stage for n, stage in recipe.stage.items() if n in needed}})


def execute(run: ClaimRun, shared: Shared) -> None:
    """Run what is not finished anywhere; continue what was interrupted."""
    with locked(run.dir):
        for donor in dict.fromkeys(shared.places[key] for key in run.keys if key in shared.places):
            if donor != run.dir:
                fork(run.stages, donor, run.dir)
    pipeline.run(run.recipe, run.dir.path)
    shared.add(run.dir)
