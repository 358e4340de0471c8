"""Find out before anything runs whether the sandbox and the judge that grading needs are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from r1kit.config import Location, PromptSource, Recipe, Service, StageConfig
from r1kit.console import heartbeat
from r1kit.data.problem_rows import to_problem
from r1kit.data.problems import renamed
from r1kit.data.store import DataError, file_problem, read_rows
from r1kit.data.worlds import VERIFIERS_OF
from r1kit.errors import UserError
from r1kit.evals.judging.judges import NEED_JUDGE
from r1kit.evals.named.sources import task_of
from r1kit.recipe.errors import Mistake
from r1kit.rewards.sandbox import NATIVE, require_sandbox
from r1kit.rewards.services import NO_JUDGE
from r1kit.rewards.verifiers import VERIFIERS, verifier_named

FIRST_ROWS = 10_000  # of a file that are looked at; a stage looks at all when it begins


def missing_services(recipe: Recipe, stages: Collection[str]) -> list[Mistake]:
    """Return what grading in these stages needs and this machine or the recipe lacks, with the first key needing it.

    Reads the first rows of local files, which also finds invalid ones. Builds no sandbox.
    """
    mistakes: list[Mistake] = []
    needed: dict[str, Location] = {}  # service -> the first key that needs it
    for name in recipe.stage:
        if name not in stages:
            continue
        for at, source, answered in _graded(recipe.stage[name]):
            location = ("stage", name, *at)
            try:
                services = {verifier_named(verifier).service for verifier in _verifiers(source, answered)}
            except DataError as error:  # names the file
                mistakes.append(Mistake(location, str(error)))
                continue
            except UserError as error:  # an unknown verifier
                mistakes.append(Mistake(location, f"{source.source}: {error}"))
                continue
            if "judge" in services and recipe.judge is None and not _has_judge(recipe.stage[name]):
                mistakes.append(Mistake(location, f"{source.source}: {NO_JUDGE}"))
            for service in services - {"judge", None}:
                needed.setdefault(str(service), location)
    return mistakes + _missing_sandboxes(recipe.sandbox, needed)


def _graded(stage: StageConfig) -> Iterator[tuple[Location, PromptSource, bool]]:
    """Yield the prompt sources whose answers are graded, and whether their rows must have an answer.

    A curate stage only compares its prompts with benchmarks.
    """
    for at, source in stage.sources():
        if not (stage.kind == "curate" and at[0] == "benchmarks"):
            yield at, source, at[0] != "general" and getattr(stage, "makes", "records") == "records"


def _verifiers(source: PromptSource, answered: bool) -> set[str]:
    """Return the verifiers that a source names; of worlds, those that need a service. Hub datasets are not known yet.

    DataError if the first row of a file is no problem: then the others have the wrong fields too.
    """
    path = Path(source.source).expanduser()
    if source.source.startswith("reasoning_gym:"):
        return {"reasoning_gym"}
    if source.source.startswith("verifiers:"):
        return {"environment"}
    if (task := task_of(source)) is not None:
        return {"judge"} if task.verifier in NEED_JUDGE else {task.verifier} & VERIFIERS.keys()
    if source.source.startswith("world:"):
        return {name for world, name in VERIFIERS_OF.items() if source.source == f"world:{world}"}
    if file_problem(path) is not None or not path.stat().st_size:
        return set()
    try:
        with heartbeat(f"looking at {source.source}"):
            rows = list(islice(read_rows(path), min(source.limit or FIRST_ROWS, FIRST_ROWS)))
            first = renamed(rows[0], source, f"{path}, row 1")
            to_problem(first, f"{path}, row 1", "", answered)
            return {str(row[key]) for row in rows for key in row if key.lower() == "verifier" and row[key]}
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _has_judge(stage: StageConfig) -> bool:
    return isinstance(getattr(stage, "judge", None), Service)  # curate stages may have one of their own


def _missing_sandboxes(tier: str, needed: dict[str, Location]) -> list[Mistake]:
    """Return a mistake for a tier that is named, or a sandbox that is needed, and cannot be opened."""
    mistakes = []
    if tier not in ("auto", "none"):
        mistakes += _try_to_open(("sandbox",), tier)
    elif tier == "auto" and "sandbox" in needed:
        mistakes += _try_to_open(needed["sandbox"], tier)
    if tier in ("auto", "wasm") and "native sandbox" in needed:
        mistakes += _try_to_open(needed["native sandbox"], "auto", NATIVE)
    return mistakes


def _try_to_open(at: Location, tier: str, *among: tuple[str, ...]) -> list[Mistake]:
    try:
        with heartbeat("opening the sandbox"):
            require_sandbox(tier, *among)
    except UserError as error:
        return [Mistake(at, str(error))]
    return []
