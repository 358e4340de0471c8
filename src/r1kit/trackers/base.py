"""What every tracker implements, and what it is given: the stage, and rows of numbers.

Each stage of a run is one run of the tracker, so that stages of the same kind can be compared across runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from r1kit.errors import not_installed
from r1kit.types import TrackerName


@dataclass(frozen=True, slots=True)
class TrackedStage:
    """A stage as trackers show it."""

    project: str
    """The name of the recipe."""
    run: str
    """The name of the run's directory."""
    name: str
    id: str
    """Of the tracker's run: the same whenever the stage is continued."""
    config: Mapping[str, Any]
    """The resolved keys of the stage, and the settings of the run."""
    recipe: str
    """The resolved recipe as TOML."""
    folder: Path
    """Where a tracker that writes files puts them."""

    @property
    def title(self) -> str:
        """The name of the tracker's run."""
        return f"{self.run}/{self.name}"


@dataclass(frozen=True, slots=True)
class Row:
    """The numbers of one step."""

    step: int
    time: float
    """Seconds since 1970: the start of the stage and the duration of its steps."""
    values: Mapping[str, float]


class TrackerRun(Protocol):
    """A run of a tracker."""

    last_step: int | None
    """The last step that the tracker has; None where it cannot be asked."""

    def log(self, rows: Sequence[Row]) -> None:
        """Send rows, in the order of their steps."""

    def close(self, is_finished: bool) -> None:
        """End the tracker's run for now, or for good if the stage has finished."""


class Tracker(Protocol):
    """A module of this package."""

    PACKAGE: str
    """What must be installed."""

    def open_run(self, stage: TrackedStage, sent: int) -> TrackerRun:
        """Start the tracker's run of a stage, or continue it after step `sent`; -1 before the first."""

    def where(self, folder: Path) -> str:
        """Return how to look at the runs."""


def tracker_named(name: TrackerName) -> Tracker:
    """Return the module of a tracker."""
    module: Any = import_module(f"{__package__}.{name}")
    tracker: Tracker = module
    return tracker


def plain_name(metric: str) -> str:
    """Return a metric's name in the characters that every tracker allows: pass@1 is pass_at_1."""
    return re.sub(r"[^\w\-./]", "_", metric.replace("@", "_at_"))


def missing_packages(names: Sequence[TrackerName]) -> list[str]:
    """Return a sentence for each tracker whose package is not installed. Imports none of them."""
    packages = {name: tracker_named(name).PACKAGE for name in names}
    return [f"track: {not_installed(package, name)}" for name, package in packages.items() if not _exists(package)]


def _exists(package: str) -> bool:
    spec = find_spec(package)
    return spec is not None and spec.origin is not None  # a folder of that name in the working directory has none
