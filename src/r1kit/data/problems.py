"""Load problems to train and evaluate on, and draw them in endless shuffled epochs.

A source is a world (`world:NAME`), a family of reasoning-gym (`reasoning_gym:NAME`), an environment of the package
verifiers (`verifiers:NAME`), a local file or a dataset on the Hugging Face hub. `problem_rows.py` describes the rows
that files and datasets may have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from r1kit import hub
from r1kit.config import PromptSource
from r1kit.console import heartbeat, say
from r1kit.data.problem_rows import to_problem
from r1kit.data.store import FORMATS, READERS, DataError, data_suffix, read_rows
from r1kit.errors import require
from r1kit.hashing import derive_seed
from r1kit.synonyms import nearest
from r1kit.types import Problem

# (source, its problems) -> the problems to use
Filter = Callable[[PromptSource, Sequence[Problem]], Sequence[Problem]]


def keep_all(source: PromptSource, problems: Sequence[Problem]) -> Sequence[Problem]:
    """Keep all problems."""
    return problems


def load_problems(sources: Sequence[PromptSource], *, answered: bool = True, keep: Filter = keep_all) -> list[Problem]:
    """Return the problems of all sources in order, without duplicates.

    Args:
        sources: Where to load from.
        answered: Whether to require final answers. Without, prompts for a reward model are accepted too.
        keep: Selects the problems of a source.

    Raises:
        DataError: A source cannot be read, or yields no problem.
    """
    problems: dict[str, Problem] = {}
    for source in sources:
        with heartbeat(f"loading {source.source}"):
            loaded = keep(source, _load(source, answered))
        repeated = sum(problem.id in problems for problem in loaded)
        if repeated:
            say(f"{source.source}: {repeated} problems left out that an earlier source has too")
        problems |= {problem.id: problem for problem in loaded if problem.id not in problems}
    return list(problems.values())


class PromptStream:
    """Endless epochs over problems. The order of an epoch depends on the seed and the epoch only."""

    def __init__(self, problems: Sequence[Problem], seed: int) -> None:
        if not problems:
            raise DataError("no problems to draw prompts from")
        self.problems = problems
        self.seed = seed
        self._epoch, self._order = -1, list(problems)  # the most recent epoch

    def take(self, cursor: int, count: int) -> list[Problem]:
        """Return problems number `cursor` to `cursor + count` of the stream. A pure function."""
        return [self._at(position) for position in range(cursor, cursor + count)]

    def _at(self, position: int) -> Problem:
        epoch, index = divmod(position, len(self.problems))
        if epoch != self._epoch:
            self._order = sorted(self.problems, key=lambda problem: derive_seed("order", self.seed, epoch, problem.id))
            self._epoch = epoch
        return self._order[index]


def _load(source: PromptSource, answered: bool) -> list[Problem]:
    kind, _, name = source.source.partition(":")
    if kind == "world":
        from r1kit.data.worlds import world_problems

        return world_problems(name, source.split, source.min_level, source.max_level, source.limit)
    if kind == "bench":
        raise DataError(f"{source.source}: a benchmark is no source of prompts: name it under benchmarks")
    if kind == "reasoning_gym":
        from r1kit.data.reasoning_gym import gym_problems

        return gym_problems(name, source.split, source.limit)
    if kind == "verifiers":
        from r1kit.data.verifiers import verifiers_problems

        return verifiers_problems(name, source.split, source.limit)
    path = Path(source.source).expanduser()
    if data_suffix(path) in READERS or path.exists():
        stem = path.name.removesuffix(data_suffix(path))
        family = path.parent.name if stem in ("train", "test", "validation") else stem
        return _from_rows(read_rows(path), source, family, answered)
    return _from_rows(hub_rows(source), source, kind.split("/")[-1], answered)


def _from_rows(rows: Iterable[Mapping[str, Any]], source: PromptSource, family: str, answered: bool) -> list[Problem]:
    problems: dict[str, Problem] = {}
    unanswered, repeated = [], 0
    for number, row in enumerate(rows, start=1):
        where = f"{source.source}, row {number}"
        problem = to_problem(renamed(row, source, where), where, family, answered)
        if problem is None:
            unanswered.append(number)
        elif source.min_level <= problem.level <= source.max_level:
            repeated += problem.id in problems
            problems.setdefault(problem.id, problem)
        if len(problems) == source.limit:
            break
    if repeated:
        say(f"{source.source}: {repeated} duplicates left out")
    if unanswered:
        say(f"{source.source}: {len(unanswered)} rows without final answer left out; the first is row {unanswered[0]}")
    if not problems:
        raise DataError(
            f"{source.source}: no problem of level {source.min_level} to {source.max_level} with a final answer: "
            r"answers must be a short text, or a solution that ends in `#### ANSWER` or \boxed{ANSWER}. Check the "
            "answers, or widen min_level and max_level"
        )
    return list(problems.values())


def renamed(row: Mapping[str, Any], source: PromptSource, where: str) -> Mapping[str, Any]:
    """Return a row with the names of the source's `fields` added. DataError if it lacks one of their columns."""
    if not source.fields:
        return row
    if absent := [theirs for theirs in source.fields.values() if theirs not in row]:
        close = nearest(absent[0], row)
        hint = f"; did you mean {close}? " if close else ": "
        raise DataError(
            f"{where}: fields names {', '.join(absent)}, but the columns are {', '.join(row)}{hint}Give --field "
            "OURS=COLUMN, in a recipe fields"
        )
    return {**row, **{ours: row[theirs] for ours, theirs in source.fields.items()}}


def hub_rows(source: PromptSource) -> Iterable[Mapping[str, Any]]:
    """Return the rows of the dataset `org/name`, or `org/name:config`, on the Hugging Face hub."""
    load_dataset = require("datasets", extra="hub").load_dataset
    name, _, config = source.source.partition(":")
    if not hub.is_cached_dataset(name) and (reason := hub.unavailable([(name, "dataset")]).get((name, "dataset"))):
        raise DataError(unavailable_dataset(source.source, reason))
    try:
        with hub.offline_if_unreachable():
            return cast(Iterable[Mapping[str, Any]], load_dataset(name, config or None, split=source.split))
    except Exception as error:  # datasets raises many types; all of them mean that the source cannot be read
        reason = f"split {source.split!r}: {type(error).__name__}: {str(error).strip()[:300]}"
        raise DataError(unavailable_dataset(source.source, reason)) from error


def unavailable_dataset(source: str, reason: str) -> str:
    """Return the message for a source that is neither a file nor a dataset on the hub."""
    return (
        f"{source}: neither a local file nor a dataset that can be loaded from the hub ({reason}). A hub source is "
        f"org/name or org/name:config; a local file ({FORMATS}) works offline"
    )
