"""The types of lineage.json and of the records of stages in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypedDict


class Amendment(TypedDict):
    """A change of the settings of a stage that had begun."""

    step: int  # updates done before; the new settings apply to all later ones
    at: str  # ISO 8601
    changed: dict[str, tuple[Any, Any]]  # key of the stage, or what it reads -> (old, new); None if absent
    sequences: int  # drawn in the updates before, by stages that draw a fixed number for each
    identity: str  # of the stage before


class StageInputs(TypedDict):
    """Everything that determines the result of a stage, and the hash of it."""

    kind: str
    identity: str
    parents: dict[str, str]  # what the stage reads -> identity
    seed: int
    dtype: str
    r1kit: str  # version
    config: dict[str, Any]
    amendments: list[Amendment]  # oldest first; `config` has the settings after the last


class StageRecord(StageInputs, total=False):
    """A stage that was started: its inputs, and how the work on it went."""

    started: str  # ISO 8601
    finished: str
    seconds: float  # in all processes that worked on it
    revisions: dict[str, str]  # model from the hub -> commit
    sandbox: str  # the tier that was used


class Environment(TypedDict):
    """What may change the bits of a result besides the recipe: code, libraries and machine."""

    r1kit: str
    source: str  # hash of this package's modules
    commit: str | None
    python: str
    versions: dict[str, str]
    platform: str
    cpu: str
    threads: int  # of each process
    processes: int  # that train together
    device: str
    dtype: str


class Change(TypedDict):
    """A difference between the environments of two processes that worked on one run."""

    at: str  # ISO 8601
    changed: dict[str, tuple[Any, Any]]  # key -> (old, new)


class Lineage(Environment, total=False):
    """The content of lineage.json."""

    recipe: str
    seed: int
    folder: str | None  # the directory of the recipe that the run was started with
    own_code: dict[str, str]  # module of a reward or environment in that directory -> hash of its file
    stages: dict[str, StageRecord]
    changes: list[Change]
    forked_from: str


def timestamp() -> str:
    """Return the current time (UTC) as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
